// SPDX-License-Identifier: Apache-2.0
// The attributes outside PS3.15's table that de-identification keeps, as the tests know them.
#pragma once

#include <set>
#include <string>

namespace oncomesh::deidentification {

// Reviewed one by one: written by equipment about equipment, or a code. By their keywords, so that
// a tag that was mistyped in the table of the implementation is found.
inline const std::set<std::string>& ReviewedAttributes() {
  static const auto* const kReviewed = new std::set<std::string>{
      "Manufacturer",
      "CodeValue",
      "CodingSchemeDesignator",
      "CodingSchemeVersion",
      "ManufacturerModelName",
      "SequenceName",
      "RETIRED_Radionuclide",
      "Radiopharmaceutical",
      "ImagedNucleus",
      "SecondaryCaptureDeviceManufacturer",
      "SecondaryCaptureDeviceManufacturerModelName",
      "SecondaryCaptureDeviceSoftwareVersions",
      "SoftwareVersions",
      "VideoImageFormatAcquired",
      "DigitalImageFormatAcquired",
      "TriggerSourceOrType",
      "CardiacFramingType",
      "PVCRejection",
      "FilterType",
      "TypeOfFilters",
      "CollimatorGridName",
      "AcquisitionMode",
      "DoseModeName",
      "ConvolutionKernel",
      "ReceiveCoilName",
      "TransmitCoilName",
      "PlateType",
      "PhosphorType",
      "AcquisitionDeviceProcessingCode",
      "TransducerData",
      "ProcessingFunction",
      "DetectorManufacturerName",
      "DetectorManufacturerModelName",
      "PulseSequenceName",
      "ReceiveCoilManufacturerName",
      "MultiCoilElementName",
      "TransmitCoilManufacturerName",
      "ImageFilter",
      "ApplicationName",
      "ApplicationVersion",
      "ApplicationManufacturer",
      "StackID",
      "DimensionIndexPrivateCreator",
      "FunctionalGroupPrivateCreator",
      "RescaleType",
      "ICCProfile",
      "ModalityLUTType",
      "LUTLabel",
      "OpticalPathIdentifier",
      "EnergyWindowName",
      "AttenuationCorrectionMethod",
      "ReconstructionMethod",
      "DetectorLinesOfResponseUsed",
      "ScatterCorrectionMethod",
      "SegmentAlgorithmName",
      "AlgorithmVersion",
      "AlgorithmName",
      "ReferencedOpticalPathIdentifier",
      "SourceIsotopeName",
  };
  return *kReviewed;
}

}  // namespace oncomesh::deidentification
