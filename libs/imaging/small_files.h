// SPDX-License-Identifier: Apache-2.0
// For tests: the smallest DICOM objects that make a series and a region, by a writer that is not
// the one of the readers.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/phantom/data_set.h"

namespace oncomesh::imaging::small {

// An axial slice of 6 × 6 pixels of 2 mm, 3 mm above the one before. Values differ within it.
inline phantom::DataSet Slice(const char* modality, const char* series, const char* frame,
                              int number) {
  phantom::DataSet out;
  out.Text(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
  out.Text(0x00080018, "UI", absl::StrCat(series, ".", 1 + number));
  out.Text(0x00080060, "CS", modality).Text(0x0020000e, "UI", series);
  out.Text(0x00200052, "UI", frame);
  out.Decimals(0x00200032, {0, 0, 3.0 * number}).Decimals(0x00200037, {1, 0, 0, 0, 1, 0});
  out.Decimals(0x00280030, {2, 2}).Decimals(0x00180050, {3});
  out.Uint16(0x00280002, 1).Text(0x00280004, "CS", "MONOCHROME2");
  out.Uint16(0x00280010, 6).Uint16(0x00280011, 6);
  out.Uint16(0x00280100, 16).Uint16(0x00280101, 16).Uint16(0x00280102, 15).Uint16(0x00280103, 0);
  std::vector<uint16_t> pixels;
  for (int i = 0; i < 36; ++i) pixels.push_back(static_cast<uint16_t>(100 + i + number));
  return out.Words(0x7fe00010, pixels);
}

// A structure set with the region GTV: on each of the slices a square about 3 × 3 voxels.
inline std::string StructureSet(const std::vector<int>& slices, const char* frame,
                                const char* series) {
  using phantom::DataSet;
  std::vector<DataSet> contours;
  for (int slice : slices) {
    const int z = 3 * slice;
    contours.push_back(
        DataSet()
            .Text(0x30060042, "CS", "CLOSED_PLANAR")
            .Integer(0x30060046, 4)
            .Text(0x30060050, "DS",
                  absl::StrCat("1\\1\\", z, "\\7\\1\\", z, "\\7\\7\\", z, "\\1\\7\\", z)));
  }
  DataSet used, study, out;
  used.Text(0x0020000e, "UI", series);
  study.Items(0x30060014, {used});
  out.Text(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.481.3").Text(0x00080018, "UI", "2.25.9");
  out.Text(0x00080060, "CS", "RTSTRUCT").Text(0x0020000e, "UI", "2.25.10");
  out.Items(0x30060010, {DataSet().Text(0x00200052, "UI", frame).Items(0x30060012, {study})});
  out.Items(0x30060020, {DataSet()
                             .Integer(0x30060022, 1)
                             .Text(0x30060024, "UI", frame)
                             .Text(0x30060026, "LO", "GTV")});
  out.Items(0x30060039, {DataSet().Items(0x30060040, contours).Integer(0x30060084, 1)});
  return out.EncodeFile();
}

}  // namespace oncomesh::imaging::small
