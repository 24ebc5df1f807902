// SPDX-License-Identifier: Apache-2.0
// Nothing: the unit for which cmake/precompiled.h is compiled.
