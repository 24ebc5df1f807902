# SPDX-License-Identifier: Apache-2.0
"""What the stories of the whole mesh share: a running mesh, and the means to harm it."""
