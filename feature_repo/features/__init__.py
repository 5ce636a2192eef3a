"""The features. Each file holds one `FEATURE`; a new file here is all that a new feature needs."""

from __future__ import annotations

from functools import lru_cache

from feature_repo.checks import problems_of
from feature_repo.errors import FeatureFileError
from feature_repo.feature import Feature
from feature_repo.feature_files import load


def discover() -> dict[str, Feature]:
    """Every feature by name, in the order of the files' names; read and checked once per process.

    Raises:
        FeatureFileError: files are wrong; names every problem of every file.
    """
    return dict(_discovered(tuple(__path__)))


@lru_cache
def _discovered(folders: tuple[str, ...]) -> dict[str, Feature]:
    features, problems = load(__name__, folders)
    problems += problems_of(features)
    if problems:
        raise FeatureFileError("feature files, nothing was changed:\n" + "\n".join(f"  {line}" for line in problems))
    return {feature.name: feature for feature in features.values()}
