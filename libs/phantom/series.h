// SPDX-License-Identifier: Apache-2.0
// The DICOM objects of one image series of a phantom, and of the structure set drawn on it.
#pragma once

#include <string>
#include <vector>

#include "absl/time/civil_time.h"
#include "libs/phantom/anatomy.h"
#include "libs/phantom/data_set.h"
#include "libs/phantom/patient.h"
#include "libs/phantom/site.h"
#include "libs/phantom/volume.h"

namespace oncomesh::phantom {

// What identifies a series and where it lies. UIDs are drawn from the patient's key.
struct Series {
  Modality modality = Modality::kCt;
  std::string study_uid;
  std::string series_uid;
  std::string frame_of_reference_uid;  // CT and PET of a patient share it, MR has its own
  std::vector<std::string> sop_uids;   // by slice, from the feet
  std::string accession;
  std::string study_id;
  int series_number = 0;
  absl::CivilSecond study_time;
  absl::CivilSecond series_time;  // start of the acquisition
  Grid grid{};
  double origin[3] = {0, 0, 0};  // where the anatomy's middle lies in the frame of reference, mm
};

Series MakeSeries(const Patient& patient, const Site& site, Modality modality);

// The image objects in the order of their instance numbers, each as a Part 10 file: CT Image, MR
// Image or Positron Emission Tomography Image (PS3.3 A.3, A.4, A.21). PET is in Bq/mL, decay
// corrected to the start of the series, with what it takes to get the uptake value back.
std::vector<std::string> ImageFiles(const Patient& patient, const Site& site,
                                    const Anatomy& anatomy, const Series& series);

// The RT Structure Set (PS3.3 A.19): one region GTV_Mass, whose contours are the tumour's outlines
// in the planes of the series.
std::string StructureSetFile(const Patient& patient, const Site& site, const Anatomy& anatomy,
                             const Series& series);

// (series_elements.cc) The patient, study, equipment and series elements that every object of the
// series has, full of what identifies a person.
DataSet CommonElements(const Patient& patient, const Site& site, const Series& series);

// "143005".
std::string DicomTime(absl::CivilSecond time);

inline constexpr char kCtImageStorage[] = "1.2.840.10008.5.1.4.1.1.2";
inline constexpr char kMrImageStorage[] = "1.2.840.10008.5.1.4.1.1.4";
inline constexpr char kPetImageStorage[] = "1.2.840.10008.5.1.4.1.1.128";
inline constexpr char kStructureSetStorage[] = "1.2.840.10008.5.1.4.1.1.481.3";
const char* SopClass(Modality modality);

}  // namespace oncomesh::phantom
