"""Small models of transformers, with random weights and inputs, by name of their family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

VOCABULARY = 97
_SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_GROUPED: dict[str, Any] = {**_SIZES, **_TEXT, "num_key_value_heads": 2, "head_dim": 8}
_TWO_SIDES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip
_SLIDING: dict[str, Any] = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
_LATENT: dict[str, Any] = {
    "num_key_value_heads": 4, "moe_intermediate_size": 16, "n_routed_experts": 2, "num_experts_per_tok": 1,
    "n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1, "kv_lora_rank": 16,
    "q_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 6,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """A family: the class of its model and configuration, settings of a small one, and what its inputs are."""

    model: str
    config: str
    kind: str
    settings: Mapping[str, Any]

    def build(self) -> Any:
        """The model, with weights that are large enough for a wrong mask to show."""
        import transformers

        torch.manual_seed(0)
        model = getattr(transformers, self.model)(getattr(transformers, self.config)(**self.settings)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.25)
                else:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        return model


FAMILIES: dict[str, Family] = {
    "BERT": Family("BertModel", "BertConfig", "encoder", _SIZES | _TEXT),
    "RoBERTa": Family("RobertaModel", "RobertaConfig", "encoder", _SIZES | _TEXT),
    "DistilBERT": Family("DistilBertModel", "DistilBertConfig", "encoder", {
        "vocab_size": VOCABULARY, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4, "pad_token_id": 0}),
    "ALBERT": Family("AlbertModel", "AlbertConfig", "encoder", _SIZES | _TEXT | {"embedding_size": 16}),
    "ModernBERT": Family("ModernBertModel", "ModernBertConfig", "encoder", _SIZES | _TEXT | {
        "local_attention": 8, "global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2}),
    "BERT, decoder": Family("BertLMHeadModel", "BertConfig", "decoder", _SIZES | _TEXT | {"is_decoder": True}),
    "GPT-2": Family("GPT2LMHeadModel", "GPT2Config", "decoder", {
        "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2}),
    "Llama": Family("LlamaForCausalLM", "LlamaConfig", "decoder", _GROUPED),
    "Mistral": Family("MistralForCausalLM", "MistralConfig", "decoder", _GROUPED | {"sliding_window": 6}),
    "Qwen3": Family("Qwen3ForCausalLM", "Qwen3Config", "decoder", _GROUPED),
    "Gemma 2": Family("Gemma2ForCausalLM", "Gemma2Config", "decoder", _GROUPED | {
        "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "Gemma 3": Family("Gemma3ForCausalLM", "Gemma3TextConfig", "decoder", _GROUPED | _SLIDING | {
        "query_pre_attn_scalar": 8}),
    "GPT-OSS": Family("GptOssForCausalLM", "GptOssConfig", "decoder", _GROUPED | _SLIDING | {
        "num_local_experts": 2, "num_experts_per_tok": 1, "rope_parameters": {
            "rope_type": "default", "rope_theta": 10_000.0}}),
    "DeepSeek-V3": Family("DeepseekV3ForCausalLM", "DeepseekV3Config", "decoder", _SIZES | _TEXT | _LATENT),
    "Llama 4": Family("Llama4ForCausalLM", "Llama4TextConfig", "decoder", _GROUPED | {
        "intermediate_size_mlp": 48, "attention_chunk_size": 5, "num_local_experts": 2, "moe_layers": [],
        "no_rope_layers": [1, 0]}),
    "Phi-3": Family("Phi3ForCausalLM", "Phi3Config", "decoder", _SIZES | _TEXT | {"num_key_value_heads": 2}),
    "T5": Family("T5ForConditionalGeneration", "T5Config", "seq2seq", {
        "vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
        "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}),
    "BART": Family("BartForConditionalGeneration", "BartConfig", "seq2seq", _TWO_SIDES | {
        "max_position_embeddings": 64}),
    "Marian": Family("MarianMTModel", "MarianConfig", "seq2seq", _TWO_SIDES | {"max_position_embeddings": 64}),
    "Whisper": Family("WhisperForConditionalGeneration", "WhisperConfig", "speech", _TWO_SIDES | {
        "max_source_positions": 20, "max_target_positions": 32, "num_mel_bins": 8, "suppress_tokens": None,
        "begin_suppress_tokens": None}),
    "Wav2Vec2": Family("Wav2Vec2Model", "Wav2Vec2Config", "wave", _SIZES | {
        "vocab_size": VOCABULARY, "conv_dim": (16, 16), "conv_stride": (4, 4), "conv_kernel": (8, 8),
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}),
    "ViT": Family("ViTModel", "ViTConfig", "image", _SIZES | {"image_size": 32, "patch_size": 8}),
    "DINOv2": Family("Dinov2Model", "Dinov2Config", "image", _SIZES | {"image_size": 32, "patch_size": 8}),
    "CLIP": Family("CLIPModel", "CLIPConfig", "both", {
        "text_config": _SIZES | _TEXT, "vision_config": _SIZES | {"image_size": 32, "patch_size": 8},
        "projection_dim": 16}),
    "VideoMAE": Family("VideoMAEModel", "VideoMAEConfig", "video", _SIZES | {
        "image_size": 16, "patch_size": 8, "num_frames": 4}),
}  # fmt: skip


def inputs(kind: str) -> dict[str, dict[str, Any]]:
    """Inputs for a kind of model, by what is particular to them."""
    torch.manual_seed(1)
    ids, target = torch.randint(5, VOCABULARY, (2, 12)), torch.randint(5, VOCABULARY, (2, 7))
    left = torch.ones(2, 12, dtype=torch.int64)
    left[1, :5] = 0
    plain, padded = {"input_ids": ids}, {"input_ids": ids, "attention_mask": left.flip(1)}
    image, sound = torch.randn(2, 3, 32, 32), torch.randn(2, 400)
    if kind == "encoder":
        holes = left.clone()
        holes[0, 3] = 0
        return {"plain": plain, "padded": padded, "with holes": {"input_ids": ids, "attention_mask": holes}}
    if kind == "decoder":
        places = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2]])
        packed = {"input_ids": ids[:1], "position_ids": places, "use_cache": False}
        return {
            "plain": plain, "padded": padded, "padded on the left": {**plain, "attention_mask": left},
            "packed": packed,
        }  # fmt: skip
    if kind == "seq2seq":
        return {"plain": {**plain, "decoder_input_ids": target}, "padded": {**padded, "decoder_input_ids": target}}
    if kind == "speech":
        return {"plain": {"input_features": torch.randn(2, 8, 40), "decoder_input_ids": target}}
    if kind == "wave":
        shorter = torch.ones(2, 400, dtype=torch.int64)
        shorter[1, 200:] = 0
        return {"plain": {"input_values": sound}, "padded": {"input_values": sound, "attention_mask": shorter}}
    if kind == "image":
        return {"plain": {"pixel_values": image}}
    if kind == "video":
        return {"plain": {"pixel_values": torch.randn(2, 4, 3, 16, 16)}}
    return {"plain": {**plain, "pixel_values": image}, "padded": {**padded, "pixel_values": image}}


def output(model: Any, given: Mapping[str, Any]) -> Tensor:
    """The logits or states of a model for what is no padding."""
    result = model(**given)
    names = ("logits", "logits_per_text", "last_hidden_state")
    tensor: Tensor = next(result[name] for name in names if result.get(name) is not None)
    mask = given.get("attention_mask")
    if mask is None or tensor.shape[:2] != mask.shape or "decoder_input_ids" in given:
        return tensor
    return tensor[mask.bool()]
