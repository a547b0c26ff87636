// Marks what the core's shared library shows to the libraries beside it.

#ifndef TF_ROIALIGN_CC_CORE_BASE_VISIBILITY_H_
#define TF_ROIALIGN_CC_CORE_BASE_VISIBILITY_H_

#define TF_ROIALIGN_API __attribute__((visibility("default")))

#endif  // TF_ROIALIGN_CC_CORE_BASE_VISIBILITY_H_
