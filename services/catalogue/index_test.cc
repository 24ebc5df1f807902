// SPDX-License-Identifier: Apache-2.0
// The index against SQL: the same random rows in SQLite, the same random expressions written as
// WHERE clauses over a left outer join. SQL's three-valued logic is the oracle.
#include "services/catalogue/index.h"

#include <sqlite3.h>

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "libs/query/text.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::catalogue {
namespace {

using query::v1::Expression;
using terminology::Level;
using terminology::Registry;
using terminology::Variable;

const Registry& Variables() { return Registry::Builtin(); }

class Sql {
 public:
  Sql() { REQUIRE(sqlite3_open(":memory:", &db_) == SQLITE_OK); }
  ~Sql() { sqlite3_close(db_); }
  void Run(const std::string& sql) {
    INFO(sql);
    char* error = nullptr;
    int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &error);
    INFO((error == nullptr ? "" : error));
    REQUIRE(code == SQLITE_OK);
  }
  // Rows of texts; NULL is "?".
  std::vector<std::vector<std::string>> Query(const std::string& sql) {
    INFO(sql);
    sqlite3_stmt* statement = nullptr;
    REQUIRE(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
    std::vector<std::vector<std::string>> out;
    while (sqlite3_step(statement) == SQLITE_ROW) {
      std::vector<std::string> row;
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
        row.push_back(text == nullptr ? "?" : text);
      }
      out.push_back(row);
    }
    sqlite3_finalize(statement);
    return out;
  }

 private:
  sqlite3* db_ = nullptr;
};

// Variables of the random data with the values drawn, "" for unknown.
struct Drawn {
  const char* variable;
  std::vector<const char*> values;
};
const std::vector<Drawn>& DrawnOf(Level level) {
  static const std::vector<Drawn> kPatient = {
      {"sex", {"F", "M", "O", ""}},
      {"topography", {"C50", "C50.4", "C50.9", "C34.1", "C5", "C61.9", "", ""}},
      {"stage", {"I", "IIA", "II", "IIIB", "III", "IV", ""}}};
  static const std::vector<Drawn> kStudy = {{"age", {"8", "49", "50", "51", "77", "90", ""}}};
  static const std::vector<Drawn> kSeries = {
      {"modality", {"CT", "MR", "PT", ""}},
      {"slice_thickness_mm", {"0.625", "1", "2.5", "3", "5", ""}},
      {"manufacturer", {"GE", "SIEMENS", "PHILIPS", "ACME", ""}}};
  return level == Level::kPatient ? kPatient : level == Level::kStudy ? kStudy : kSeries;
}

// The same rows in an index and in SQL.
struct Both {
  std::shared_ptr<const Index> index;
  Sql sql;
};

std::string SqlValue(const Variable& variable, const std::string& value) {
  if (value.empty()) return "NULL";
  return variable.numeric() ? value : absl::StrCat("'", value, "'");
}

void Fill(Both& both, std::mt19937& random, int patients) {
  auto pick = [&](size_t n) { return random() % n; };
  for (auto [level, table, parents] :
       {std::tuple(Level::kPatient, "patient", ""), std::tuple(Level::kStudy, "study", ", patient"),
        std::tuple(Level::kSeries, "series", ", study")}) {
    std::string columns;
    for (const Drawn& drawn : DrawnOf(level)) absl::StrAppend(&columns, ", ", drawn.variable);
    both.sql.Run(
        absl::StrCat("CREATE TABLE ", table, " (id INTEGER PRIMARY KEY", parents, columns, ")"));
  }
  both.sql.Run("BEGIN");
  IndexBuilder builder;
  int studies = 0, series = 0;
  auto row = [&](Level level, const char* table, int id, const std::string& parent) {
    std::string values;
    for (const Drawn& drawn : DrawnOf(level)) {
      const Variable& variable = *Variables().Find(drawn.variable);
      std::string value = drawn.values[pick(drawn.values.size())];
      if (value == "C5") value = "";  // no such code; drawn to weigh "unknown"
      if (!value.empty()) CHECK(builder.Set(variable, value));
      absl::StrAppend(&values, ", ", SqlValue(variable, value));
    }
    both.sql.Run(absl::StrCat("INSERT INTO ", table, " VALUES (", id, parent, values, ")"));
  };
  for (int p = 0; p < patients; ++p) {
    if (pick(10) == 0) continue;  // a gap in the numbers
    builder.AddPatient(static_cast<uint32_t>(p));
    row(Level::kPatient, "patient", p, "");
    for (size_t s = pick(4); s > 0; --s) {
      builder.AddStudy();
      row(Level::kStudy, "study", ++studies, absl::StrCat(", ", p));
      for (size_t r = pick(4); r > 0; --r) {
        builder.AddSeries(++series);
        row(Level::kSeries, "series", series, absl::StrCat(", ", studies));
      }
    }
  }
  both.sql.Run("COMMIT");
  both.index = std::move(builder).Build();
}

Expression RandomExpression(std::mt19937& random, int depth) {
  auto pick = [&](size_t n) { return random() % n; };
  Expression out;
  size_t kind = depth == 0 ? 9 : pick(10);
  if (kind < 2) {
    for (size_t i = 0, n = pick(4); i < n; ++i) {
      *out.mutable_and_()->add_of() = RandomExpression(random, depth - 1);
    }
    if (!out.has_and_()) out.mutable_and_();
  } else if (kind < 4) {
    for (size_t i = 0, n = 1 + pick(3); i < n; ++i) {
      *out.mutable_or_()->add_of() = RandomExpression(random, depth - 1);
    }
  } else if (kind < 6) {
    *out.mutable_not_()->mutable_of() = RandomExpression(random, depth - 1);
  } else if (kind == 6) {
    out.mutable_has()->set_level(pick(2) == 0 ? query::v1::LEVEL_PATIENT : query::v1::LEVEL_STUDY);
    *out.mutable_has()->mutable_of() = RandomExpression(random, depth - 1);
  } else {
    const auto& drawn = DrawnOf(static_cast<Level>(pick(3)));
    const Drawn& of = drawn[pick(drawn.size())];
    query::v1::Condition& condition = *out.mutable_condition();
    condition.set_variable(of.variable);
    bool numeric = Variables().Find(of.variable)->numeric();
    static constexpr query::v1::Operator kAll[] = {query::v1::OPERATOR_EQUAL,
                                                   query::v1::OPERATOR_NOT_EQUAL,
                                                   query::v1::OPERATOR_IN,
                                                   query::v1::OPERATOR_LESS,
                                                   query::v1::OPERATOR_GREATER,
                                                   query::v1::OPERATOR_LESS_OR_EQUAL,
                                                   query::v1::OPERATOR_GREATER_OR_EQUAL};
    condition.set_operator_(kAll[pick(numeric ? 7 : 3)]);
    size_t n = condition.operator_() == query::v1::OPERATOR_IN ? 1 + pick(3) : 1;
    while (condition.values_size() < static_cast<int>(n)) {
      std::string value = of.values[pick(of.values.size())];
      if (!value.empty() && value != "C5") condition.add_values(value);
    }
  }
  return out;
}

// The level of the rows an expression speaks of, worked out from the proto.
int LevelNumber(const Expression& e) {
  int level = 0;
  switch (e.kind_case()) {
    case Expression::kAnd:
      for (const auto& part : e.and_().of()) level = std::max(level, LevelNumber(part));
      return level;
    case Expression::kOr:
      for (const auto& part : e.or_().of()) level = std::max(level, LevelNumber(part));
      return level;
    case Expression::kNot:
      return LevelNumber(e.not_().of());
    case Expression::kHas:
      return e.has().level() == query::v1::LEVEL_STUDY ? 1 : 0;
    default:
      return static_cast<int>(Variables().Find(e.condition().variable())->level);
  }
}

// The expression as SQL over the aliases p<a>, s<a>, r<a>.
std::string ToSql(const Expression& e, std::array<std::string, 3> alias, int& next) {
  std::vector<std::string> parts;
  switch (e.kind_case()) {
    case Expression::kAnd:
      for (const auto& part : e.and_().of()) parts.push_back(ToSql(part, alias, next));
      return parts.empty() ? "(1=1)" : absl::StrCat("(", absl::StrJoin(parts, " AND "), ")");
    case Expression::kOr:
      for (const auto& part : e.or_().of()) parts.push_back(ToSql(part, alias, next));
      return absl::StrCat("(", absl::StrJoin(parts, " OR "), ")");
    case Expression::kNot:
      return absl::StrCat("(NOT ", ToSql(e.not_().of(), alias, next), ")");
    case Expression::kHas: {
      int level = e.has().level() == query::v1::LEVEL_STUDY ? 1 : 0;
      int own = std::max(level, LevelNumber(e.has().of()));
      int n = ++next;
      std::array<std::string, 3> inner = alias;
      std::string from;
      if (own == 0) {
        from = "(SELECT 1) WHERE 1=1";  // the patient's row itself
      } else {
        inner[1] = absl::StrCat("s", n);
        inner[2] = absl::StrCat("r", n);
        from = absl::StrCat("study ", inner[1]);
        if (own == 2) {
          absl::StrAppend(&from, " JOIN series ", inner[2], " ON ", inner[2], ".study = ", inner[1],
                          ".id");
        }
        absl::StrAppend(&from, " WHERE ",
                        level == 0 ? absl::StrCat(inner[1], ".patient = ", alias[0])
                                   : absl::StrCat(inner[1], ".id = ", alias[1]),
                        ".id");
      }
      std::string of = ToSql(e.has().of(), inner, next);
      return absl::StrCat("(CASE WHEN EXISTS (SELECT 1 FROM ", from, " AND ", of,
                          ") THEN 1 WHEN EXISTS (SELECT 1 FROM ", from, " AND (", of,
                          ") IS NULL) THEN NULL ELSE 0 END)");
    }
    default:
      break;
  }
  const auto& condition = e.condition();
  const Variable& variable = *Variables().Find(condition.variable());
  std::string column =
      absl::StrCat(alias[static_cast<size_t>(variable.level)], ".", condition.variable());
  if (variable.numeric() && condition.operator_() != query::v1::OPERATOR_EQUAL &&
      condition.operator_() != query::v1::OPERATOR_NOT_EQUAL &&
      condition.operator_() != query::v1::OPERATOR_IN) {
    return absl::StrCat("(", column, " ", query::OperatorText(condition.operator_()), " ",
                        condition.values(0), ")");
  }
  for (const std::string& value : condition.values()) {
    std::string quoted = SqlValue(variable, value);
    if (condition.variable() == "topography") {
      parts.push_back(absl::StrCat(column, " = ", quoted, " OR ", column, " LIKE '", value, ".%'"));
    } else if (condition.variable() == "stage") {
      // Stage groups: II has IIA, III has IIIB in this data.
      parts.push_back(absl::StrCat(column, " IN (", quoted,
                                   value == "II"    ? ", 'IIA'"
                                   : value == "III" ? ", 'IIIB'"
                                                    : "",
                                   ")"));
    } else {
      parts.push_back(absl::StrCat(column, " = ", quoted));
    }
  }
  std::string any = absl::StrCat("(", absl::StrJoin(parts, " OR "), ")");
  return condition.operator_() == query::v1::OPERATOR_NOT_EQUAL ? absl::StrCat("(NOT ", any, ")")
                                                                : any;
}

constexpr char kJoin[] =
    " FROM patient p0 LEFT JOIN study s0 ON s0.patient = p0.id LEFT JOIN series r0 ON r0.study = "
    "s0.id WHERE ";

std::string Where(const Expression& e) {
  int next = 0;
  return ToSql(e, {"p0", "s0", "r0"}, next);
}

std::set<std::string> Numbers(const Bits& bits) {
  std::set<std::string> out;
  bits.ForEach([&](size_t row) { out.insert(absl::StrCat(row)); });
  return out;
}

std::set<std::string> FirstColumn(const std::vector<std::vector<std::string>>& rows) {
  std::set<std::string> out;
  for (const auto& row : rows) {
    if (row[0] != "?") out.insert(row[0]);
  }
  return out;
}

TEST_CASE("index: random expressions choose the patients and series that SQL chooses") {
  std::mt19937 random(20261124);
  int nonempty = 0;
  for (int set = 0; set < 4; ++set) {
    Both both;
    Fill(both, random, 150);
    for (int i = 0; i < 500; ++i) {
      Expression expression = RandomExpression(random, 4);
      std::string where = Where(expression);
      INFO(query::PrintText(expression) << "\n" << where);
      query::Binding binding = query::Bind(expression, Variables());
      REQUIRE(binding.problems.empty());
      Rows rows = both.index->Evaluate(binding.root);
      auto patients = Numbers(both.index->Patients(rows));
      REQUIRE(patients ==
              FirstColumn(both.sql.Query(absl::StrCat("SELECT DISTINCT p0.id", kJoin, where))));
      std::set<std::string> series;
      both.index->Series(rows).ForEach(
          [&](size_t row) { series.insert(absl::StrCat(both.index->SeriesId(row))); });
      REQUIRE(series ==
              FirstColumn(both.sql.Query(absl::StrCat("SELECT DISTINCT r0.id", kJoin, where))));
      nonempty += patients.empty() ? 0 : 1;
      // The canonical expression has the same answer.
      Rows canonical = both.index->Evaluate(
          query::Bind(query::Canonical(expression, Variables()), Variables()).root);
      REQUIRE(Numbers(both.index->Patients(canonical)) == patients);
    }
  }
  CHECK(nonempty > 1000);
}

TEST_CASE("index: a split has the groups that SQL's GROUP BY has") {
  std::mt19937 random(7);
  Both both;
  Fill(both, random, 200);
  const std::vector<std::vector<const char*>> splits = {
      {"sex"}, {"modality"}, {"sex", "modality"}, {"manufacturer", "stage", "sex"}, {"topography"}};
  for (int i = 0; i < 200; ++i) {
    Expression expression = RandomExpression(random, 2);
    const auto& by = splits[static_cast<size_t>(i) % splits.size()];
    std::vector<const Column*> columns;
    std::vector<std::string> names;
    for (const char* name : by) {
      const Variable& variable = *Variables().Find(name);
      columns.push_back(both.index->Find(variable));
      REQUIRE(columns.back() != nullptr);
      names.push_back(absl::StrCat(variable.level == Level::kPatient ? "p0." : "r0.", name));
    }
    std::string list = absl::StrJoin(names, ", ");
    std::map<std::vector<std::string>, std::string> expected;
    for (auto row : both.sql.Query(absl::StrCat("SELECT COUNT(DISTINCT p0.id), ", list, kJoin,
                                                Where(expression), " GROUP BY ", list))) {
      expected[std::vector<std::string>(row.begin() + 1, row.end())] = row[0];
    }
    query::Binding binding = query::Bind(expression, Variables());
    auto groups = both.index->Split(both.index->Evaluate(binding.root), columns, 1000);
    REQUIRE(groups.has_value());
    std::map<std::vector<std::string>, std::string> found;
    for (const PatientGroup& group : *groups) {
      std::vector<std::string> key;
      for (const GroupValue& value : group.key) key.push_back(value.value_or("?"));
      found[key] = absl::StrCat(group.patients.Count());
    }
    INFO(query::PrintText(expression) << " by " << list);
    REQUIRE(found == expected);
  }
  CHECK_FALSE(both.index
                  ->Split(both.index->Evaluate(query::Bind(Expression(), Variables()).root),
                          {both.index->Find(*Variables().Find("manufacturer"))}, 3)
                  .has_value());
}

TEST_CASE("index: numbers are split by their bands") {
  IndexBuilder builder;
  const Variable& age = *Variables().Find("age");
  for (uint32_t p = 0; p < 4; ++p) {
    builder.AddPatient(p);
    builder.AddStudy();
    if (p < 3) builder.Set(age, p == 0 ? "8" : p == 1 ? "50" : "59");
  }
  auto index = std::move(builder).Build();
  Expression all;
  all.mutable_and_();
  auto groups =
      index->Split(index->Evaluate(query::Bind(all, Variables()).root), {index->Find(age)}, 100);
  REQUIRE(groups.has_value());
  REQUIRE(groups->size() == 3);
  CHECK((*groups)[0].key[0] == "0-9");
  CHECK((*groups)[1].key[0] == "50-59");
  CHECK((*groups)[1].patients.Count() == 2);
  CHECK_FALSE((*groups)[2].key[0].has_value());
}

TEST_CASE("index: an empty one answers every question with nobody") {
  auto index = IndexBuilder().Build();
  for (const char* text : {"all", "sex = \"F\"", "not patient has (modality = \"CT\")",
                           "not study has (age > 3)", "not all"}) {
    auto parsed = query::ParseText(text);
    REQUIRE(parsed.ok());
    Rows rows = index->Evaluate(query::Bind(*parsed, Variables()).root);
    CHECK(index->Patients(rows).Count() == 0);
    CHECK(index->Series(rows).Count() == 0);
  }
}

TEST_CASE("index: a text that is no value of its variable leaves the row unknown") {
  IndexBuilder builder;
  builder.AddPatient(0);
  CHECK_FALSE(builder.Set(*Variables().Find("sex"), "neither"));
  CHECK(builder.Set(*Variables().Find("topography"), "c50.1"));
  auto index = std::move(builder).Build();
  CHECK(index->Find(*Variables().Find("sex")) == nullptr);
  CHECK(index->Find(*Variables().Find("topography"))->known() == 1);
}

}  // namespace
}  // namespace oncomesh::catalogue
