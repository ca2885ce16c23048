"""Owns what is known of libraries in wheels that say nothing of them: their project, licence, authors and source.

Read from the projects themselves, at the versions that the wheels of packaging/requirements.txt are built from.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Project:
    """Whose files match `files`; or, with `linked`, who is compiled into files that match it.

    `license` is as SPDX has it. The number in the name of such a file is that of its interface, not the version of the
    project: that is not known.
    """

    files: str
    name: str
    license: str
    authors: str
    source: str
    linked: bool = False


IBM: Final = "Copyright (C) 2000 and later, International Business Machines Corporation and others"
ZIB: Final = "Copyright (c) {}-2025, Zuse Institute Berlin (ZIB)"
HIGHS: Final = "https://github.com/ERGO-Code/HiGHS"
GCC: Final = "https://gcc.gnu.org/git/?p=gcc.git;a=tree;f="
PROJECTS: Final = (
    Project("libabsl_*", "Abseil", "Apache-2.0", "Copyright 2017 The Abseil Authors",
            "https://github.com/abseil/abseil-cpp"),
    Project("libCbc*", "COIN-OR Cbc", "EPL-2.0", IBM, "https://github.com/coin-or/Cbc"),
    Project("libCgl*", "COIN-OR Cgl", "EPL-2.0", IBM, "https://github.com/coin-or/Cgl"),
    Project("libClp*", "COIN-OR Clp", "EPL-2.0", IBM, "https://github.com/coin-or/Clp"),
    Project("libCoinUtils*", "COIN-OR CoinUtils", "EPL-2.0", IBM, "https://github.com/coin-or/CoinUtils"),
    Project("libOsi*", "COIN-OR Osi", "EPL-2.0", IBM, "https://github.com/coin-or/Osi"),
    Project("libbz2*", "bzip2", "bzip2-1.0.6", "Copyright (C) 1996-2019 Julian R Seward",
            "https://sourceware.org/bzip2"),
    Project("libhighs*", "HiGHS", "MIT", "Copyright (c) 2025 HiGHS", HIGHS),
    Project("libprotobuf*", "Protocol Buffers", "BSD-3-Clause",
            "Copyright 2008 Google Inc.; Copyright (c) 2009 Joshua Haberman",
            "https://github.com/protocolbuffers/protobuf"),
    Project("libre2*", "RE2", "BSD-3-Clause", "Copyright (c) 2009 The RE2 Authors", "https://github.com/google/re2"),
    Project("libscip[-.]*", "SCIP", "Apache-2.0", ZIB.format(2002), "https://github.com/scipopt/scip"),
    Project("libutf8_validity*", "utf8_range", "MIT", "Copyright (c) 2019 Yibo Cai; Copyright 2022 Google LLC",
            "https://github.com/protocolbuffers/protobuf, third_party/utf8_range"),
    Project("libz.*", "zlib", "Zlib", "Copyright (C) 1995-2024 Jean-loup Gailly and Mark Adler",
            "https://github.com/madler/zlib"),
    Project("libortools*", "Eigen", "MPL-2.0", "Benoît Jacob, Gaël Guennebaud and others",
            "https://gitlab.com/libeigen/eigen", linked=True),
    Project("libortools*", "pybind11", "BSD-3-Clause", "Copyright (c) 2016 Wenzel Jakob",
            "https://github.com/pybind/pybind11", linked=True),
    Project("libscip[-.]*", "SoPlex", "Apache-2.0", ZIB.format(1996), "https://github.com/scipopt/soplex", linked=True),
    Project("libscip[-.]*", "Boost", "BSL-1.0", "John Maddock, Christopher Kormanyos and other authors of Boost",
            "https://github.com/boostorg", linked=True),
    Project("libscip[-.]*", "TinyCThread", "Zlib", "Copyright (c) 2012 Marcus Geelnard, 2013-2016 Evan Nemerson",
            "https://github.com/tinycthread/tinycthread", linked=True),
    Project("libhighs*", "IPX and BASICLU", "MIT", "Copyright (c) 2018 ERGO-Code (Lukas Schork)", HIGHS, linked=True),
    Project("libhighs*", "cuPDLP-C", "MIT", "Copyright (c) 2024 COPT-Public",
            "https://github.com/COPT-Public/cuPDLP-C", linked=True),
    Project("libhighs*", "pdqsort", "Zlib", "Copyright (c) 2021 Orson Peters", "https://github.com/orlp/pdqsort",
            linked=True),
)  # fmt: skip
SPOKEN_OF: Final = (
    Project("libgfortran*", "GCC runtime library", "GPL-3.0-or-later WITH GCC-exception-3.1",
            "Copyright (C) 2002-2017 Free Software Foundation, Inc.", f"{GCC}libgfortran"),
    Project("libquadmath*", "libquadmath", "LGPL-2.1-or-later",
            "Copyright (C) 2010-2019 Free Software Foundation, Inc.", f"{GCC}libquadmath"),
    Project("*openblas*", "OpenBLAS", "BSD-3-Clause", "Copyright (c) 2011-2014 The OpenBLAS Project",
            "https://github.com/OpenMathLib/OpenBLAS"),
)  # fmt: skip
"""Those whose licence wheels name, without all that has to come with it."""
