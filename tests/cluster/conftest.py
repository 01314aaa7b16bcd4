import pytest
from nodes import running


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path, 3) as own:
        yield own


@pytest.fixture
def one(tmp_path):
    """The same with one server."""
    with running(tmp_path, 1) as own:
        yield own
