// SPDX-License-Identifier: Apache-2.0
// Changes to what is indexed, and how they come into the tables of the node.
#pragma once

#include <soci/soci.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "services/catalogue/released_feed.h"
#include "services/catalogue/released_header.h"

namespace oncomesh::catalogue {

using Values = std::map<std::string, std::string>;  // variable → value in its one spelling

// Values as the tables hold them.
std::string ToText(const Values& values);
// What is no such text has no values.
Values FromText(const std::string& text);

// A change to what is indexed.
struct IndexChange {
  enum class Kind { kObject, kClinical };
  Kind kind = Kind::kObject;
  Released event;            // where it comes from
  ReleasedHeader header;     // kObject
  std::string patient_code;  // kClinical
  Values clinical;           // kClinical; none of them empty
};

// An event of the feed that was not taken in, or not all of it.
struct PassedOver {
  enum class Why {
    kAbsent,      // the store has no such object, now
    kUnreadable,  // the object is not what it is said to be
    kConflict,    // its study or series belongs to somebody else already
    kRows,        // a clinical table without some of its rows
  };
  Released event;
  Why why = Why::kUnreadable;
  int64_t items = 1;  // objects, tables or rows
};

// What came of a number of changes.
struct Applied {
  bool changed = false;
  std::vector<PassedOver> conflicts;
  int64_t replaced = 0;  // clinical values of which an earlier row said something else
};

// Applies changes within one transaction, with the rows it needs kept at hand; the rows are written
// by Flush. Used by one thread, as long as the transaction lasts. Exceptions of SOCI leave it.
class IndexBatch {
 public:
  explicit IndexBatch(soci::session& sql) : sql_(sql) {}

  void Add(const IndexChange& change, Applied& applied);
  void Flush();

 private:
  // A row of patients, studies or series.
  struct Row {
    long long id = 0;
    long long parent = 0;
    Values values;
    bool touched = false;
  };

  Row& Patient(const std::string& code);
  // A study or series; nullptr when it belongs to another parent.
  Row* Child(const char* table, const char* parent_column, std::map<std::string, Row>& rows,
             const std::string& uid, long long parent);
  void AddObject(const IndexChange& change, Applied& applied);
  void AddClinical(const IndexChange& change, Applied& applied);
  static void Merge(const ReleasedHeader& header, terminology::Level level, Row& row);
  void RemoveEmptyStudy(long long study);
  // Removes a patient who has neither studies nor clinical data.
  void RemoveEmpty(long long patient);
  void Flush(const char* table, std::map<std::string, Row>& rows);

  soci::session& sql_;
  std::map<std::string, Row> patients_, studies_, series_;
};

}  // namespace oncomesh::catalogue
