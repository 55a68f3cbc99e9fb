import pytest
import torch

from recsim_hrl.simulator.store import random_simulator, save_simulator

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def simulator_folder(tmp_path_factory):
    """A small untrained simulator on disk, as ``gym.make`` takes it."""
    return str(save_simulator(random_simulator(items=240), tmp_path_factory.mktemp("simulators") / "random"))
