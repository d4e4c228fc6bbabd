"""regard as the attention of Hugging Face's models: ``attn_implementation="regard"``.

Needs the extra ``hf``, and transformers 5.15 or newer.

Example:
    >>> import torch
    >>> from transformers import BertConfig, BertModel
    >>> from regard.integrations.transformers import enable
    >>> enable()
    >>> config = BertConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16)
    >>> model = BertModel._from_config(config, attn_implementation="regard")
    >>> model(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state.shape
    torch.Size([1, 3, 16])
"""

from regard.integrations.transformers.enabling import disable, enable, use

__all__ = ["disable", "enable", "use"]
