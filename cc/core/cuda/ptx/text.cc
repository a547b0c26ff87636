#include "cc/core/cuda/ptx/text.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace tf_roialign {
namespace ptx {
namespace {

bool IsSpace(char c) { return std::isspace(static_cast<unsigned char>(c)); }

int Depth(char c) {
  if (c == '{' || c == '(' || c == '[') return 1;
  if (c == '}' || c == ')' || c == ']') return -1;
  return 0;
}

}  // namespace

std::string WithoutComments(const std::string& text) {
  std::string result = text;
  const auto blank = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      if (result[i] != '\n') result[i] = ' ';
    }
  };
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    if (text[i] != '/') continue;
    size_t end = i;
    if (text[i + 1] == '/') {
      end = std::min(text.find('\n', i), text.size());
    } else if (text[i + 1] == '*') {
      end = text.find("*/", i + 2);
      end = end == std::string::npos ? text.size() : end + 2;
    }
    if (end == i) continue;
    blank(i, end);
    i = end - 1;
  }
  return result;
}

std::string Trimmed(const std::string& text) {
  size_t begin = 0, end = text.size();
  while (begin < end && IsSpace(text[begin])) ++begin;
  while (end > begin && IsSpace(text[end - 1])) --end;
  return text.substr(begin, end - begin);
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> pieces;
  if (Trimmed(text).empty()) return pieces;
  std::string piece;
  int depth = 0;
  for (const char c : text) {
    depth += Depth(c);
    if (c == separator && depth == 0) {
      pieces.push_back(Trimmed(piece));
      piece.clear();
    } else {
      piece += c;
    }
  }
  pieces.push_back(Trimmed(piece));
  return pieces;
}

std::vector<std::string> WordsOf(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text + ' ') {
    if (!IsSpace(c)) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(word);
      word.clear();
    }
  }
  return words;
}

std::string Inside(const std::string& text) {
  return text.size() < 2 ? "" : Trimmed(text.substr(1, text.size() - 2));
}

void Stop(const std::string& what, const std::string& text) {
  std::fprintf(stderr, "The PTX interpreter knows no such %s: %s\n",
               what.c_str(), text.c_str());
  std::abort();
}

}  // namespace ptx
}  // namespace tf_roialign
