// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/vocabulary.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

// Terms in protocol, series, study and structure names. Words that are common family names of
// people are left out even where they are terms.
constexpr char kTerms[] =
    "ABDOMEN ABDOMINAL ABD ABLATION ABSCESS AC ACCUMULATION ACQ ACQUISITION ACR ACTIVITY ADC "
    "ADENOCARCINOMA ADRENAL ADVANCED AFTER AIR ALL ANAL ANATOMICAL ANATOMY ANGIO ANGIOGRAPHY ANKLE "
    "ANNOTATION ANNOTATIONS ANTERIOR ANUS AORTA AORTIC AP APEX APPENDIX APPROVED ARCH ARM ARMS "
    "ARTERIAL ARTERY "
    "ARTIFACT ASCENDING ASL ATLAS ATTENUATION AUTO AUTOMATIC AVERAGE AVG AX AXI AXIAL AXILLA "
    "AXILLARY "
    "B BACKGROUND BASE BASELINE BEAM BEFORE BH BILATERAL BILE BIOPSY BLADDER BLADE BLOCK BLOOD "
    "BODY "
    "BOLUS BONE BONES BOOST BOTH BOWEL BRACHIAL BRACHYTHERAPY BRAIN BRAINSTEM BRAVO BREAST BREASTS "
    "BREATH "
    "BREATHHOLD BRONCHUS BUTTOCK BW C CALCIFICATION CALF CALIBRATION CANAL CANCER CARCINOMA "
    "CARDIAC "
    "CAROTID CAUDA CAVITY CBCT CECUM CELIAC CENTRAL CEREBELLUM CEREBRAL CERVICAL CERVIX CHEST "
    "CHIASM "
    "CIRRHOSIS CLAVICLE CLINICAL CM COARSE COCHLEA COIL COLLECTION COLON COLORECTAL COMBINED "
    "COMPLETE "
    "COMPRESSED COMPUTED CONSTRAST CONTOUR CONTOURS CONTRAST CONTROL COR CORE CORONAL CORONARY "
    "CORRECTED CORRECTION CORTEX COUCH CRANIAL CRANIUM CS CT CTA CTAC CTP CTV CTVN CTVT CURVED "
    "CYST D "
    "DCE DEEP DEFAULT DELAY DELAYED DENOISED DERIVED DESCENDING DIAGNOSTIC DICOM DIFF DIFFUSION "
    "DIR DISEASE "
    "DISTAL DIXON DOSE DTI DUAL DUCT DUODENUM DWI DX DYN DYNAMIC E EARLY ECG ECHO EDEMA EDGE "
    "EMISSION "
    "ENDO ENHANCED ENHANCEMENT EPI EPIDURAL ESOPHAGUS EVALUATION EXAM EXAMINATION EXP EXPIRATION "
    "EXPIRATORY EXTERNAL EXTREMITIES EXTREMITY EYE EYES F FACE FAST FAT FB FDG FEMORAL FEMUR FFE "
    "FFS "
    "FIELD FIESTA FILTERED FINAL FINE FINGER FISTULA FLAIR FLASH FLUORO FLUORODEOXYGLUCOSE FLOW "
    "FMRI "
    "FNH FOLLOW FOLLOWUP FOOT FOREARM FORAMEN FOV FRACTION FRACTURE FRAME FREE FRONTAL FS FSE "
    "FSPGR FULL FUNCTIONAL "
    "FUSED FUSION G GADOLINIUM GALLBLADDER GANGLIA GANTRY GATED GATING GD GE GFRT GLAND GLAUCOMA "
    "GLIOBLASTOMA "
    "GLIOMA GRADE GRADIENT GRE GROIN GROSS GTV GTVN GTVP GTVS GTVT GUIDED GY HASTE HCC HEAD HEART "
    "HELICAL "
    "HELIX HEPATIC HEPATOBILIARY HIGH HILAR HILUM HIP HIPPOCAMPUS HIPS HISTOLOGY HR HU HUMERUS "
    "HYPOPHARYNX I ICTV IDEAL ILEUM ILIAC IMAGE IMAGES IMAGING IMRT IN INFERIOR INFUSION INGUINAL "
    "INITIAL "
    "INNER INSP INSPIRATION INSPIRATORY INTERNAL INTESTINE INV INVERSION IO IR ISO ISOCENTER "
    "ISOTROPIC ITV IV IVC J JAW JEJUNUM JOINT JUNCTION KERNEL KIDNEY KIDNEYS KNEE KNEES KV L LARGE "
    "LARYNX LAT LATE LATERAL LAVA LEFT LEG LEGS LEIOMYOSARCOMA LENS LESION LESIONS LEVEL LIGAMENT "
    "LIPOSARCOMA LIVER LN LOBE "
    "LOC LOCALISER LOCALIZER LOW LOWER LT LUMBAR LUNG LUNGS LYMPH LYMPHOMA M MAIN MALIGNANT "
    "MAMMARY MAMMO MAMMOGRAPHY MANDIBLE "
    "MANUAL MAP MARGIN MARKER MASK MASKS MASS MASTECTOMY MASTOID MAX MAXILLA MAXIMUM MEAN MEATUS "
    "MED MEDIAL "
    "MEDIASTINUM MEDIUM MELANOMA MENINGIOMA MESENTERIC MESORECTUM METABOLIC METASTASES METASTASIS "
    "METS MEDULLA MID MIDDLE MIN MINIMUM "
    "MIP MLO MM MOCO MODEL MONO MOTION MP MPR MPRAGE MR MRA MRI MRCP MS MTV MULTI MULTIPHASE "
    "MUSCLE N "
    "NAC NASAL NASOPHARYNX NATIVE NECK NECROSIS NECROTIC NERVE NM NO NODAL NODE NODES NODULE "
    "NODULES "
    "NON NONCONTRAST NORMAL NOSE NSCLC NUCLEUS OBJECT OBL OBLIQUE OCCIPITAL OCTREOTIDE OESOPHAGUS "
    "OF OLD ON "
    "OPTIC OPTICAL ORAL ORBIT ORBITAL ORBITS ORGAN ORIGINAL OROPHARYNX OSEM OSTEOSARCOMA OUT OUTER "
    "OUTPHASE "
    "OVARY OVERLAY P PA PANCREAS PANCREATIC PARAMETRIC PARENCHYMA PAROTID PARTIAL PATELLA PATIENT "
    "PC PD PELVIC "
    "PELVIS PENIS PERFUSION PERIPHERAL PERITONEUM PET PETCT PHANTOM PHARYNX PHASE PITUITARY PLAN "
    "PLANNING PLATE PLEURA PLEURAL PNEUMONIA POLYP PORTAL POS POSITION POST POSTERIOR POSTOP "
    "PRE PREOP PRESENTATION PRIMARY PRIOR PROCEDURE PRODUCT PROJECTION PRONE PROSTATE PROTOCOL "
    "PROTON PROXIMAL PSMA PT PTV "
    "PULMONARY PULSE PV PVE Q QUALITY QUANTITATIVE R RADIAL RADIATION RADIOTHERAPY RADIUS RECON "
    "RECONSTRUCTED RECONSTRUCTION RECTAL RECTUM RECURRENCE REFERENCE REFORMAT REFORMATTED REGION "
    "REGISTERED REGISTRATION RELAXATION RENAL REPORT RESAMPLED "
    "RESECTED RESECTION RESIDUAL RESOLUTION RESP RESPIRATORY RESPONSE REST RESULT RESULTS RETINA "
    "RETRO "
    "RFOV RIB RIBS RIGHT RIGID ROI ROIS ROTATION ROUTINE RT RTDOSE RTPLAN RTSTRUCT S SACRAL SACRUM "
    "SAG SAGITTAL "
    "SALIVARY SARCOMA SCAN SCANNER SCAPULA SCATTER SCINTIGRAPHY SCOUT SCREENING SE SECONDARY SEG "
    "SEGMENT "
    "SEGMENTATION SEGMENTED SELLA SEMI SENSE SEPTUM SEQUENCE SERIES SET SHORT SHOULDER SIGMOID "
    "SIGNAL SIM "
    "SIMULATION SINGLE SINUS SINUSES SITE SKELETAL SKELETON SKIN SKULL SLICE SLICES SMALL SMOOTH "
    "SOFT SOLID "
    "SPAIR SPECT SPGR SPINAL SPINE SPIN SPIRAL SPLEEN SPLENIC SPOT STAGE STAGING STANDARD START "
    "STATE STATIC STD "
    "STEREO STERNUM STIR STOMACH STRESS STRUCT STRUCTURE STRUCTURES STUDY SUB SUBCLAVIAN "
    "SUBCUTANEOUS SUBMANDIBULAR "
    "SUBTRACTION SUM SUPERIOR SUPINE SUPPRESSED SUPPRESSION SUPRACLAVICULAR SURFACE SURGICAL "
    "SURVEY SUSCEPTIBILITY SUV SWI "
    "SYNOVIAL SYSTEM T TABLE TAC TARGET TE TEMPORAL TEST TESTIS TFE TFL THALAMUS THERAPY THICK "
    "THIGH THIN "
    "THIRD THORACIC THORAX THREE THYMUS THYROID TI TIBIA TIME TISSUE TOF TOMO TOMOGRAPHY "
    "TOMOSYNTHESIS TONGUE TONSIL TORSO "
    "TOTAL TR TRA TRACE TRACHEA TRACT TRANS TRANSMISSION TRANSPLANT TRANSVERSAL TRANSVERSE "
    "TREATMENT TRIPHASIC "
    "TRUE TRUFI TRUNK TSE TUBE TUMOR TUMORS TUMOUR TUMOURS TURBO TWO TYPE ULNA ULTRASOUND "
    "UNENHANCED "
    "UNILATERAL UP UPPER UPTAKE URETER URETHRA URINARY US UTERINE UTERUS UV V VAGINA VALVE VARIAN "
    "VASCULAR "
    "VEIN VENA VENOUS VENTRAL VENTRICLE VERTEBRA VERTEBRAE VERTEBRAL VESSEL VESSELS VIBE VIEW VMAT "
    "VOI "
    "VOLUME VOLUMETRIC VULVA W WALL WATER WB WEEK WEIGHTED WHOLE WHOLEBODY WINDOW WITH WITHOUT WO "
    "WRIST X XRAY "
    "Y Z ZONE FLUOROCHOLINE GALLIUM DOTATATE DOTATOC FLUORINE FLUORIDE SODIUM CHOLINE EDITED "
    "IODINE "
    "IODINATED GADOBUTROL GADOTERATE GADOXETATE IOHEXOL IOPAMIDOL IOPROMIDE INTRAVENOUS OMNIPAQUE "
    "YES FEMALE MALE OTHER UNKNOWN NONE POSITIVE NEGATIVE ALIVE DEAD DECEASED PROGRESSION STABLE "
    "CHEMOTHERAPY SURGERY IMMUNOTHERAPY RADIO NEOADJUVANT ADJUVANT PALLIATIVE CURATIVE RECURRENT "
    "METASTATIC "
    "DUCTAL LOBULAR SQUAMOUS CELL INVASIVE SITU BENIGN LOCAL REGIONAL DISTANT RELAPSE REMISSION "
    "FIBROSARCOMA UNDIFFERENTIATED PLEOMORPHIC DIFFERENTIATED POORLY WELL MODERATELY INTERMEDIATE "
    "HISTIOCYTOMA "
    "SYNOVIALSARCOMA SPINDLE MIXOID MYXOID EPITHELIOID ANGIOSARCOMA EWING RHABDOMYOSARCOMA "
    "CHONDROSARCOMA";

// Single letters that may stay alone: sides, planes, weightings and parts of target volumes.
constexpr absl::string_view kLetters = "LRTNPWBHSC";

bool IsLetter(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsHigh(char c) { return static_cast<unsigned char>(c) >= 0x80; }

struct Token {
  enum class Kind { kWord, kNumber, kOther } kind;
  absl::string_view text;
};

// Runs of letters (bytes above 127 count as letters, so that no word is cut in two), of digits, and
// of anything else.
std::vector<Token> Tokens(absl::string_view text) {
  std::vector<Token> out;
  size_t i = 0;
  auto kind_of = [](char c) {
    if (IsLetter(c) || IsHigh(c)) return Token::Kind::kWord;
    return IsDigit(c) ? Token::Kind::kNumber : Token::Kind::kOther;
  };
  while (i < text.size()) {
    Token::Kind kind = kind_of(text[i]);
    size_t end = i + 1;
    while (end < text.size() && kind_of(text[end]) == kind) ++end;
    out.push_back({kind, text.substr(i, end - i)});
    i = end;
  }
  return out;
}

// Names of months by their first letters, in English, German, French, Spanish, Italian and
// Portuguese.
bool StartsLikeMonth(absl::string_view word) {
  static const auto& kMonths = *new std::set<std::string, std::less<>>{
      "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV",
      "DEC", "MRZ", "MAI", "OKT", "DEZ", "FEV", "AVR", "AOU", "ENE", "ABR", "AGO",
      "DIC", "GEN", "MAG", "GIU", "LUG", "SET", "OTT", "OUT", "JUI"};
  return word.size() >= 3 && kMonths.count(absl::AsciiStrToUpper(word.substr(0, 3))) > 0;
}

// Words next to which a number is an age.
bool NamesAge(absl::string_view word) {
  static const auto& kAges = *new std::set<std::string, std::less<>>{
      "Y",    "YO",    "YR",  "YRS",  "YEAR", "YEARS", "YEAROLD", "AGE",   "AGED",
      "JAHR", "JAHRE", "ANS", "ANNI", "ANOS", "JAAR",  "ALTER",   "JAHREN"};
  return kAges.count(absl::AsciiStrToUpper(word)) > 0;
}

// Marks numbers that are part of a date, a time, a telephone number, an identifier or an age, as
// Vocabulary::Clean says.
std::vector<bool> TellingNumbers(const std::vector<Token>& tokens, const std::vector<bool>& known,
                                 const IdentifyingWords& identifying) {
  std::vector<bool> out(tokens.size(), false);
  std::vector<size_t> chain;  // of numbers, as places among the tokens
  bool colon = false, dropped_inside = false;
  bool dropped = false, colon_now = false;  // since the last number of the chain
  auto close = [&] {
    std::string digits;
    for (size_t place : chain) digits.append(tokens[place].text.data(), tokens[place].text.size());
    bool telling = chain.size() >= 3 || digits.size() >= 6 || colon || dropped_inside ||
                   (chain.size() > 1 && identifying.count(digits) > 0);
    for (size_t place : chain) {
      if (telling || tokens[place].text.size() > 3) out[place] = true;
    }
    chain.clear();
    colon = dropped_inside = dropped = colon_now = false;
  };
  for (size_t i = 0; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    if (token.kind == Token::Kind::kNumber) {
      if (!chain.empty()) {
        dropped_inside = dropped_inside || dropped;
        colon = colon || colon_now;
      }
      dropped = colon_now = false;
      chain.push_back(i);
    } else if (token.kind == Token::Kind::kOther) {
      colon_now = colon_now || token.text.find(':') != absl::string_view::npos;
    } else if (known[i] || absl::EqualsIgnoreCase(token.text, "x")) {  // 12x3
      close();
    } else {
      dropped = true;
    }
  }
  close();
  // Next to a month or a word of age, whatever stands between.
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].kind != Token::Kind::kWord) continue;
    const bool age = NamesAge(tokens[i].text);
    if (!age && (known[i] || !StartsLikeMonth(tokens[i].text))) continue;
    for (bool forward : {false, true}) {
      for (size_t k = i; forward ? ++k < tokens.size() : k-- > 0;) {
        if (tokens[k].kind == Token::Kind::kOther) continue;
        if (tokens[k].kind == Token::Kind::kNumber) out[k] = true;
        break;
      }
    }
  }
  return out;
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> more) {
  for (absl::string_view word : absl::StrSplit(kTerms, ' ', absl::SkipEmpty())) {
    if (word.size() > 1 || kLetters.find(word[0]) != absl::string_view::npos) {
      words_.emplace(word);
    }
  }
  for (std::string& word : more) words_.insert(std::move(word));
}

bool Vocabulary::Knows(absl::string_view word) const {
  return words_.count(absl::AsciiStrToUpper(word)) > 0;
}

std::string Vocabulary::Clean(absl::string_view text, const IdentifyingWords& identifying) const {
  // ISO 2022 escapes turn plain letters into other alphabets.
  if (text.find('\x1b') != absl::string_view::npos) return {};
  std::vector<Token> tokens = Tokens(text);
  std::vector<bool> known(tokens.size(), false);
  for (size_t i = 0; i < tokens.size(); ++i) {
    known[i] = tokens[i].kind == Token::Kind::kWord && Knows(tokens[i].text);
  }
  std::vector<bool> telling = TellingNumbers(tokens, known, identifying);
  std::string out;
  std::string separator;  // between the last kept token and the next
  bool dropped = false;   // something fell out since the last kept token
  bool word = false;      // a number alone tells nothing that is wanted
  for (size_t i = 0; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    if (token.kind == Token::Kind::kOther) {
      if (separator.empty()) separator = std::string(token.text.substr(0, 1));
      continue;
    }
    bool keep = token.kind == Token::Kind::kWord ? known[i] : !telling[i];
    keep = keep && identifying.count(absl::AsciiStrToUpper(token.text)) == 0;
    if (!keep) {
      dropped = true;
      continue;
    }
    if (!out.empty()) {
      char c = separator.empty() ? '\0' : separator[0];
      bool plain = absl::string_view(" _-+/.").find(c) != absl::string_view::npos;
      if (c != '\0' && !dropped && plain) {
        out.push_back(c);
      } else if (c != '\0' || dropped) {
        out.push_back(' ');
      }
    }
    out.append(token.text.data(), token.text.size());
    separator.clear();
    dropped = false;
    word = word || token.kind == Token::Kind::kWord;
  }
  return word ? out : std::string();
}

bool HasTellingNumbers(absl::string_view text) {
  std::vector<Token> tokens = Tokens(text);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].kind != Token::Kind::kNumber) continue;
    size_t end = i, digits = tokens[i].text.size();
    bool dots = true;
    while (end + 2 < tokens.size() && tokens[end + 2].kind == Token::Kind::kNumber &&
           tokens[end + 1].text.find_first_not_of(" -/.") == absl::string_view::npos) {
      const absl::string_view between = tokens[end + 1].text;
      // A version is numbers with single dots between them.
      dots = dots && between == ".";
      end += 2;
      digits += tokens[end].text.size();
    }
    const size_t numbers = (end - i) / 2 + 1;
    for (size_t k = i; k <= end; k += 2) {
      if (tokens[k].text.size() >= 9) return true;
      if ((numbers == 1 || !dots) && IsDay(tokens[k].text)) return true;
    }
    if (numbers >= 3 && digits >= 6) {
      const absl::string_view last = tokens[end].text;
      const bool year = numbers == 3 && last.size() == 4 && (last[0] == '1' || last[0] == '2');
      if (!dots || year) return true;
    }
    i = end;
  }
  return false;
}

void AddIdentifyingWords(absl::string_view text, IdentifyingWords& out) {
  std::string group;
  auto add = [&](absl::string_view word) {
    if (word.size() >= 2) out.insert(absl::AsciiStrToUpper(word));
  };
  for (const Token& token : Tokens(text)) {
    if (token.kind == Token::Kind::kOther) {
      add(group);
      group.clear();
      continue;
    }
    add(token.text);
    group.append(token.text.data(), token.text.size());
  }
  add(group);
}

std::vector<std::string> WordGroups(absl::string_view text) {
  std::vector<std::string> out;
  bool open = false;
  for (char c : text) {
    bool part = IsLetter(c) || IsDigit(c) || IsHigh(c);
    if (part && !open) out.emplace_back();
    if (part) out.back().push_back(absl::ascii_toupper(static_cast<unsigned char>(c)));
    open = part;
  }
  return out;
}

}  // namespace oncomesh::deidentification
