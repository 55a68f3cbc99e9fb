import torch

# Small models on a shared machine: a second thread costs more than it brings.
torch.set_num_threads(1)
