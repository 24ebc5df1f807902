// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/pixel_data.h"

#include <dcmtk/config/osconfig.h>
// After osconfig.h.
#include <dcmtk/dcmdata/dccodec.h>
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/file_meta.h"
#include "libs/dicom/pixel_jpegls.h"
#include "libs/dicom/pixel_rle.h"

namespace oncomesh::dicom {
namespace {

using absl::StatusCode;

void Initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DJDecoderRegistration::registerCodecs(EDC_never);  // monochrome only: no colour conversion
  });
}

absl::Status Unreadable(absl::string_view why) {
  return base::Error(StatusCode::kInvalidArgument, "DICOM_UNREADABLE",
                     absl::StrCat("a file is not a readable DICOM object: ", why,
                                  "; leave it out or export it again"));
}

absl::Status FormatError(absl::string_view why) {
  return base::Error(StatusCode::kInvalidArgument, "PIXELS_FORMAT",
                     absl::StrCat("the description of the pixels does not hold together: ", why));
}

absl::Status Truncated() {
  return base::Error(StatusCode::kInvalidArgument, "PIXELS_TRUNCATED",
                     "the pixel data end before the last frame; fetch the object again");
}

// What a deflated data set may grow to.
constexpr size_t kMaxInflated = size_t{1} << 30;

absl::StatusOr<std::string> Inflate(absl::string_view deflated) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return Unreadable("it cannot be inflated");
  std::string out;
  std::vector<char> chunk(1 << 18);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(deflated.data()));
  stream.avail_in = static_cast<uInt>(deflated.size());
  int result = Z_OK;
  while (result == Z_OK && out.size() <= kMaxInflated) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(chunk.data(), chunk.size() - stream.avail_out);
    // All input is taken and the end was not seen.
    if (result == Z_BUF_ERROR) break;
  }
  inflateEnd(&stream);
  if (result != Z_STREAM_END) return Unreadable("its deflated part is damaged or too large");
  return out;
}

// Walks over the structure once, into every sequence, so that what DCMTK then reads is bounded in
// depth, and in time: DCMTK looks for the place of an element from the end of a list, and for the
// creator of a private one from its start. What begins like an item is taken for a sequence
// whatever its VR: DCMTK's dictionary of private elements may call it one.
class StructureCheck {
 public:
  explicit StructureCheck(absl::string_view bytes) : bytes_(bytes) {}

  absl::Status Run(size_t offset, Encoding encoding) {
    bool whole = DataSet(offset, bytes_.size(), encoding, 0, /*in_item=*/false) != kFault;
    if (too_deep_) return Unreadable("sequences are nested too deeply");
    if (steps_ > kMaxSteps) {
      return Unreadable("too many of its elements are out of order or private");
    }
    return whole ? absl::OkStatus() : Unreadable("its elements do not add up");
  }

 private:
  static constexpr size_t kFault = ~size_t{0};
  // Of DCMTK along its lists; less than a second's worth. A header of 10,000 elements from the last
  // to the first is half of it, and ordinary ones need none.
  static constexpr uint64_t kMaxSteps = 100'000'000;

  bool OnlyZeros(size_t offset, size_t end) const {
    return bytes_.substr(offset, end - offset).find_first_not_of('\0') == absl::string_view::npos;
  }

  // The elements in [offset, end), or, in an item of undefined length, to its delimiter. Returns
  // where they end.
  size_t DataSet(size_t offset, size_t end, Encoding encoding, int depth, bool in_item) {
    uint64_t elements = 0, creators = 0;
    Tag highest = 0;
    while (offset < end) {
      Element element;
      if (ReadElement(bytes_.substr(0, end), offset, encoding, element) != Step::kOk) {
        return !in_item && OnlyZeros(offset, end) ? end : kFault;  // zeros: padding
      }
      if (element.tag == kItemDelimiter) return in_item ? element.value : kFault;
      if (element.tag < highest) steps_ += elements;
      highest = std::max(highest, element.tag);
      ++elements;
      if (IsPrivate(element.tag)) {
        creators += IsPrivateCreator(element.tag) ? 1 : 0;
        if (ElementOf(element.tag) >= 0x1000) steps_ += creators;
      }
      if (steps_ > kMaxSteps) return kFault;
      if (element.undefined() && IsItemSequence(element, encoding)) {
        offset = Items(element.value, end, EncodingInside(element, encoding), depth + 1,
                       /*delimited=*/true);
      } else if (element.undefined()) {
        if (FindEnd(bytes_.substr(0, end), element, encoding, offset) != Step::kOk) return kFault;
      } else {
        if (element.length > end - element.value) {
          return !in_item && OnlyZeros(offset, end) ? end : kFault;
        }
        if (!IsPixelData(element.tag) && element.length >= 8 &&
            Load16(bytes_, element.value, encoding.big_endian) == Group(kItem) &&
            Load16(bytes_, element.value + 2, encoding.big_endian) == ElementOf(kItem)) {
          // Text may begin so by chance: only its depth counts.
          Items(element.value, element.end(), encoding, depth + 1, /*delimited=*/false);
        }
        offset = element.end();
      }
      if (offset == kFault || too_deep_) return kFault;
    }
    return in_item ? kFault : end;
  }

  size_t Items(size_t offset, size_t end, Encoding encoding, int depth, bool delimited) {
    if (depth > kMaxDepth) {
      too_deep_ = true;
      return kFault;
    }
    while (offset < end) {
      Element item;
      if (ReadElement(bytes_.substr(0, end), offset, encoding, item) != Step::kOk) return kFault;
      if (item.tag == kSequenceDelimiter) return delimited ? item.value : kFault;
      if (item.tag != kItem) return kFault;
      if (item.undefined()) {
        offset = DataSet(item.value, end, encoding, depth, /*in_item=*/true);
      } else {
        if (item.length > end - item.value) return kFault;
        if (DataSet(item.value, item.end(), encoding, depth, /*in_item=*/false) == kFault) {
          return kFault;
        }
        offset = item.end();
      }
      if (offset == kFault) return kFault;
    }
    return delimited ? kFault : end;
  }

  const absl::string_view bytes_;
  bool too_deep_ = false;
  uint64_t steps_ = 0;
};

template <typename Word>
void Convert(const Word* words, int64_t count, const PixelFormat& format, float* out) {
  const int shift = format.high_bit + 1 - format.bits_stored;
  const uint64_t mask = format.bits_stored >= 64 ? ~0ull : (1ull << format.bits_stored) - 1;
  const uint64_t sign = 1ull << (format.bits_stored - 1);
  for (int64_t i = 0; i < count; ++i) {
    uint64_t value = (static_cast<uint64_t>(words[i]) >> shift) & mask;
    int64_t number = static_cast<int64_t>(value);
    if (format.is_signed && (value & sign) != 0) number -= static_cast<int64_t>(mask) + 1;
    out[i] = static_cast<float>(number);
  }
}

using Frames = std::vector<std::vector<float>>;

// `bytes` holds `format.frames` frames back to back, in this machine's byte order.
absl::StatusOr<Frames> SplitNative(const uint8_t* bytes, uint64_t size, const PixelFormat& format) {
  const int64_t pixels = format.frame_pixels();
  const uint64_t bits =
      static_cast<uint64_t>(format.frames * pixels) * static_cast<uint64_t>(format.bits_allocated);
  if (size < (bits + 7) / 8) return Truncated();
  Frames frames(static_cast<size_t>(format.frames));
  for (int64_t f = 0; f < format.frames; ++f) {
    std::vector<float>& frame = frames[static_cast<size_t>(f)];
    frame.resize(static_cast<size_t>(pixels));
    if (format.bits_allocated == 1) {
      // Frames of single bits follow each other without padding (PS3.5 8.1.1).
      for (int64_t i = 0; i < pixels; ++i) {
        int64_t bit = f * pixels + i;
        frame[static_cast<size_t>(i)] = static_cast<float>((bytes[bit / 8] >> (bit % 8)) & 1);
      }
      continue;
    }
    const uint8_t* start = bytes + f * pixels * (format.bits_allocated / 8);
    if (format.bits_allocated == 8) {
      Convert(start, pixels, format, frame.data());
    } else if (format.bits_allocated == 16) {
      Convert(reinterpret_cast<const uint16_t*>(start), pixels, format, frame.data());
    } else {
      Convert(reinterpret_cast<const uint32_t*>(start), pixels, format, frame.data());
    }
  }
  return frames;
}

template <typename Number>
absl::StatusOr<Frames> SplitFloat(const Number* numbers, uint64_t count,
                                  const PixelFormat& format) {
  const int64_t pixels = format.frame_pixels();
  if (numbers == nullptr || count < static_cast<uint64_t>(format.frames * pixels)) {
    return Truncated();
  }
  Frames frames(static_cast<size_t>(format.frames));
  for (std::vector<float>& frame : frames) {
    frame.assign(numbers, numbers + pixels);
    numbers += pixels;
  }
  return frames;
}

absl::Status Undecodable() {
  return base::Error(StatusCode::kDataLoss, "PIXELS_UNDECODABLE",
                     "compressed pixel data cannot be decoded; fetch the object again or ask for "
                     "it uncompressed");
}

// The fragments of compressed pixel data without the first item, the offset table; at most `most`.
// They are views of what the element holds.
absl::StatusOr<std::vector<absl::string_view>> Fragments(DcmPixelData& element, size_t most) {
  E_TransferSyntax syntax = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  element.getOriginalRepresentationKey(syntax, parameter);
  DcmPixelSequence* items = nullptr;
  if (element.getEncapsulatedRepresentation(syntax, parameter, items).bad() || items == nullptr) {
    return Undecodable();
  }
  std::vector<absl::string_view> out;
  // By nextInContainer: getItem walks from the start each time.
  DcmObject* object = items->nextInContainer(nullptr);
  while (object != nullptr && out.size() < most &&
         (object = items->nextInContainer(object)) != nullptr) {
    auto* item = dynamic_cast<DcmPixelItem*>(object);
    Uint8* bytes = nullptr;
    if (item == nullptr || item->getUint8Array(bytes).bad() || bytes == nullptr) {
      return Undecodable();
    }
    out.emplace_back(reinterpret_cast<const char*>(bytes), item->getLength());
  }
  return out;
}

// Decodes a stream into `out`, whose bytes are those of a frame in this machine's order; false when
// it cannot.
using DecodeOne = absl::FunctionRef<bool(absl::string_view stream, std::vector<uint32_t>& out)>;

// Decodes each of `streams`, of which there is one for each frame.
template <typename Streams>
absl::StatusOr<Frames> DecodeEach(const Streams& streams, const PixelFormat& format,
                                  const base::GoOn& go_on, DecodeOne decode) {
  const uint64_t bytes = static_cast<uint64_t>(format.frame_pixels()) *
                         (static_cast<uint64_t>(format.bits_allocated) / 8);
  PixelFormat single = format;
  single.frames = 1;
  // An even number of bytes and more, aligned for 32-bit words.
  std::vector<uint32_t> buffer((bytes + 8) / 4);
  Frames frames;
  for (const auto& stream : streams) {
    RETURN_IF_ERROR(base::CheckGoOn(go_on));
    if (!decode(stream, buffer)) return Undecodable();
    ASSIGN_OR_RETURN(Frames one,
                     SplitNative(reinterpret_cast<const uint8_t*>(buffer.data()), bytes, single));
    frames.push_back(std::move(one[0]));
  }
  return frames;
}

// The streams of a JPEG or JPEG-LS object, one for each frame.
absl::StatusOr<std::vector<std::string>> JpegStreams(DcmPixelData& element,
                                                     const PixelFormat& format) {
  ASSIGN_OR_RETURN(std::vector<absl::string_view> fragments,
                   Fragments(element, std::numeric_limits<size_t>::max()));
  if (fragments.size() < static_cast<size_t>(format.frames)) return Truncated();
  std::vector<std::string> streams = JpegFrames(fragments, static_cast<size_t>(format.frames));
  if (streams.empty()) return Undecodable();
  return streams;
}

absl::StatusOr<Frames> DecodeJpegLs(DcmPixelData& element, const PixelFormat& format,
                                    const base::GoOn& go_on) {
  if (format.bits_allocated != 8 && format.bits_allocated != 16) {
    return FormatError("JPEG-LS of other than 8 or 16 bits allocated");
  }
  ASSIGN_OR_RETURN(std::vector<std::string> streams, JpegStreams(element, format));
  const size_t width = static_cast<size_t>(format.bits_allocated) / 8;
  return DecodeEach(streams, format, go_on,
                    [&](absl::string_view stream, std::vector<uint32_t>& out) {
                      return DecodeJpegLsFrame(stream, format.rows, format.columns, width,
                                               reinterpret_cast<uint8_t*>(out.data()));
                    });
}

// Each frame is one fragment (PS3.5 A.4.2).
absl::StatusOr<Frames> DecodeRle(DcmPixelData& element, const PixelFormat& format,
                                 const base::GoOn& go_on) {
  if (format.bits_allocated < 8) return FormatError("RLE of single bits");
  ASSIGN_OR_RETURN(std::vector<absl::string_view> fragments,
                   Fragments(element, static_cast<size_t>(format.frames)));
  if (fragments.size() < static_cast<size_t>(format.frames)) return Truncated();
  const size_t width = static_cast<size_t>(format.bits_allocated) / 8;
  const size_t pixels = static_cast<size_t>(format.frame_pixels());
  return DecodeEach(
      fragments, format, go_on, [&](absl::string_view fragment, std::vector<uint32_t>& out) {
        return DecodeRleFrame(fragment, pixels, width, reinterpret_cast<uint8_t*>(out.data()));
      });
}

// JPEG by DCMTK, which gets each frame as the only fragment of a sequence: to find a frame, and to
// go on to its next fragment, it walks over all fragments before.
absl::StatusOr<Frames> DecodeJpeg(DcmDataset& dataset, DcmPixelData& element,
                                  const PixelFormat& format, const base::GoOn& go_on) {
  Uint32 frame_size = 0;
  if (element.getUncompressedFrameSize(&dataset, frame_size).bad()) {
    return FormatError("the size of a frame is not known");
  }
  const int64_t expected = format.frame_pixels() * (format.bits_allocated / 8);
  if (format.bits_allocated < 8 || frame_size < expected || frame_size > expected + 1) {
    return FormatError("the size of a frame does not fit rows and columns");
  }
  ASSIGN_OR_RETURN(std::vector<std::string> streams, JpegStreams(element, format));
  E_TransferSyntax syntax = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  element.getOriginalRepresentationKey(syntax, parameter);
  return DecodeEach(
      streams, format, go_on, [&](absl::string_view stream, std::vector<uint32_t>& out) {
        DcmPixelSequence sequence(DcmTag(DCM_PixelSequenceTag));
        auto table = std::make_unique<DcmPixelItem>(DcmTag(DCM_PixelItemTag));
        auto frame = std::make_unique<DcmPixelItem>(DcmTag(DCM_PixelItemTag));
        if (frame
                ->putUint8Array(reinterpret_cast<const Uint8*>(stream.data()),
                                static_cast<unsigned long>(stream.size()))
                .bad() ||
            sequence.insert(table.get()).bad()) {
          return false;
        }
        (void)table.release();  // the sequence's from here on
        if (sequence.insert(frame.get()).bad()) return false;
        (void)frame.release();
        Uint32 fragment = 1;
        OFString colour;
        return DcmCodecList::decodeFrame(DcmXfer(syntax), parameter, &sequence, &dataset,
                                         /*frameNo=*/0, fragment, out.data(),
                                         static_cast<Uint32>(out.size() * 4), colour)
            .good();
      });
}

absl::StatusOr<Frames> Decode(DcmDataset& dataset, const PixelFormat& format,
                              const base::GoOn& go_on) {
  const Float32* floats = nullptr;
  const Float64* doubles = nullptr;
  unsigned long count = 0;
  if (dataset.tagExists(DCM_FloatPixelData)) {
    dataset.findAndGetFloat32Array(DCM_FloatPixelData, floats, &count);
    return SplitFloat(floats, count, format);
  }
  if (dataset.tagExists(DCM_DoubleFloatPixelData)) {
    dataset.findAndGetFloat64Array(DCM_DoubleFloatPixelData, doubles, &count);
    return SplitFloat(doubles, count, format);
  }
  DcmElement* found = nullptr;
  if (dataset.findAndGetElement(DCM_PixelData, found).bad() || found == nullptr) {
    return base::Error(StatusCode::kInvalidArgument, "PIXELS_MISSING",
                       "an object of the series has no pixels");
  }
  auto* element = dynamic_cast<DcmPixelData*>(found);
  if (element == nullptr) return FormatError("the pixel data have an unknown form");
  DcmXfer syntax(dataset.getOriginalXfer());
  if (dataset.getOriginalXfer() == EXS_RLELossless) return DecodeRle(*element, format, go_on);
  if (dataset.getOriginalXfer() == EXS_JPEGLSLossless ||
      dataset.getOriginalXfer() == EXS_JPEGLSLossy) {
    return DecodeJpegLs(*element, format, go_on);
  }
  if (syntax.isEncapsulated()) {
    if (!DcmCodecList::canChangeCoding(dataset.getOriginalXfer(), EXS_LittleEndianExplicit)) {
      return base::Error(StatusCode::kUnimplemented, "TRANSFER_SYNTAX_UNSUPPORTED",
                         "pixels in this transfer syntax cannot be decoded here; transcode the "
                         "series to an uncompressed, RLE, JPEG or JPEG-LS syntax first",
                         {{"transferSyntax", syntax.getXferID()}});
    }
    return DecodeJpeg(dataset, *element, format, go_on);
  }
  // DCMTK hands the value out in this machine's byte order, as bytes or as words by its VR.
  Uint8* bytes = nullptr;
  Uint16* words = nullptr;
  if (element->getUint8Array(bytes).good() && bytes != nullptr) {
    return SplitNative(bytes, element->getLength(), format);
  }
  if (element->getUint16Array(words).good() && words != nullptr) {
    return SplitNative(reinterpret_cast<const uint8_t*>(words), element->getLength(), format);
  }
  return base::Error(StatusCode::kInvalidArgument, "PIXELS_MISSING",
                     "an object of the series has empty pixel data");
}

}  // namespace

absl::StatusOr<std::unique_ptr<DcmFileFormat>> ParseObject(absl::string_view bytes) {
  Initialise();
  FileMeta meta;
  if (ReadFileMeta(bytes, /*complete=*/true, meta) != Step::kOk) {
    return Unreadable("no data set was found");
  }
  std::string inflated;
  if (meta.syntax.deflated) {
    ASSIGN_OR_RETURN(std::string data_set, Inflate(bytes.substr(meta.data_set)));
    inflated = MakeFileMeta(meta.sop_class_uid, meta.sop_instance_uid, kExplicitLittleEndian);
    meta.data_set = inflated.size();
    inflated += data_set;
    bytes = inflated;
  }
  RETURN_IF_ERROR(StructureCheck(bytes).Run(meta.data_set, meta.syntax.encoding));
  auto file = std::make_unique<DcmFileFormat>();
  try {
    DcmInputBufferStream stream;
    stream.setBuffer(bytes.data(), static_cast<offile_off_t>(bytes.size()));
    stream.setEos();
    file->transferInit();
    OFCondition read = file->read(stream, EXS_Unknown);
    file->transferEnd();
    // The buffer is the caller's: everything is loaded before it goes.
    if (read.good()) read = file->loadAllDataIntoMemory();
    if (read.bad()) return Unreadable("it breaks off or is damaged");
  } catch (const std::exception&) {
    return Unreadable("it is damaged");
  }
  return file;
}

absl::StatusOr<PixelFormat> ReadPixelFormat(DcmFileFormat& file) {
  DcmDataset& dataset = *file.getDataset();
  auto number = [&](const DcmTagKey& tag, int missing) {
    Uint16 value = 0;
    return dataset.findAndGetUint16(tag, value).good() ? int{value} : missing;
  };
  PixelFormat format;
  format.rows = number(DCM_Rows, 0);
  format.columns = number(DCM_Columns, 0);
  if (format.rows <= 0 || format.columns <= 0) {
    return base::Error(StatusCode::kInvalidArgument, "PIXELS_MISSING",
                       "an object has no rows and columns: it is not an image");
  }
  if (format.rows > kMaxMatrix || format.columns > kMaxMatrix) {
    return FormatError(absl::StrCat("more than ", kMaxMatrix, " rows or columns"));
  }
  if (number(DCM_SamplesPerPixel, 1) != 1) {
    return base::Error(StatusCode::kUnimplemented, "PIXELS_COLOUR",
                       "colour images make no volume; choose a series with one value per pixel");
  }
  OFString photometric;
  dataset.findAndGetOFString(DCM_PhotometricInterpretation, photometric);
  if (!photometric.empty() && photometric != "MONOCHROME1" && photometric != "MONOCHROME2") {
    return base::Error(StatusCode::kUnimplemented, "PIXELS_COLOUR",
                       "palette and colour images make no volume; choose a monochrome series");
  }
  Sint32 frames = 1;
  if (dataset.tagExistsWithValue(DCM_NumberOfFrames) &&
      dataset.findAndGetSint32(DCM_NumberOfFrames, frames).bad()) {
    return FormatError("the number of frames is not a number");
  }
  if (frames < 1 || frames > kMaxFrames) return FormatError("an impossible number of frames");
  format.frames = frames;
  if (format.frames > kMaxPixels / format.frame_pixels()) return FormatError("too many pixels");
  const bool floating =
      dataset.tagExists(DCM_FloatPixelData) || dataset.tagExists(DCM_DoubleFloatPixelData);
  format.bits_allocated = number(DCM_BitsAllocated, 0);
  if (floating) return format;
  format.bits_stored = number(DCM_BitsStored, format.bits_allocated);
  format.high_bit = number(DCM_HighBit, format.bits_stored - 1);
  format.is_signed = number(DCM_PixelRepresentation, 0) == 1;
  if (format.bits_allocated != 1 && format.bits_allocated != 8 && format.bits_allocated != 16 &&
      format.bits_allocated != 32) {
    return FormatError("bits allocated is not 1, 8, 16 or 32");
  }
  if (format.bits_stored < 1 || format.bits_stored > format.bits_allocated ||
      format.high_bit >= format.bits_allocated || format.high_bit + 1 < format.bits_stored) {
    return FormatError("bits stored and high bit do not fit bits allocated");
  }
  return format;
}

absl::StatusOr<Frames> DecodeFrames(DcmFileFormat& file, const PixelFormat& format,
                                    const base::GoOn& go_on) {
  try {
    return Decode(*file.getDataset(), format, go_on);
  } catch (const std::exception&) {
    return Undecodable();
  }
}

}  // namespace oncomesh::dicom
