import os

import pytest
from nodes import Cluster


@pytest.fixture
def cluster(tmp_path):
    own = Cluster(os.environ["VALETKEY_BIN"], tmp_path, 3)
    try:
        yield own
        for node in own.nodes:
            assert node.leaks() == []
    finally:
        own.close()
