"""Stand-in for rules_cc under Debian's Bazel 4.2.3, whose C++ rules are built in.

Bazel's own tool-chain files load this path; Debian's rules_cc package is too new
for Debian's Bazel. Other Bazels bring their own rules_cc and never see this.
"""

cc_binary = native.cc_binary
cc_import = native.cc_import
cc_library = native.cc_library
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
