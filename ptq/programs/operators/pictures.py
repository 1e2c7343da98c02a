"""Operators of pictures and boxes: convolutions and pools that become no layer, resizing, sampling, detection."""

from __future__ import annotations

__all__ = ["OPERATORS"]

INTERPOLATIONS = ("nearest_interp", "bilinear_interp", "bicubic_interp", "linear_interp", "trilinear_interp")
SIZES = "x out_size size_tensor scale_tensor"
HOW = "data_format out_d out_h out_w scale interp_method align_corners align_mode"

OPERATORS: dict[str, tuple[str, str]] = {
    "conv2d": ("native.conv2d", "input filter strides paddings padding_algorithm dilations groups data_format"),
    "depthwise_conv2d": ("native.depthwise_conv2d", "input filter strides paddings padding_algorithm groups dilations data_format"),
    "conv3d": ("native.conv3d", "input filter strides paddings padding_algorithm groups dilations data_format"),
    "conv2d_transpose": (
        "native.conv2d_transpose",
        "x filter strides paddings output_padding output_size:n padding_algorithm groups dilations data_format",
    ),
    "depthwise_conv2d_transpose": (
        "native.depthwise_conv2d_transpose",
        "x filter strides paddings output_padding output_size:n padding_algorithm groups dilations data_format",
    ),
    "conv3d_transpose": (
        "native.conv3d_transpose",
        "x filter strides paddings output_padding output_size padding_algorithm groups dilations data_format",
    ),
    "deformable_conv": (
        "native.deformable_conv",
        "x offset filter mask strides paddings dilations deformable_groups groups im2col_step",
    ),
    "pool2d": (
        "native.pool2d",
        "x kernel_size:n strides paddings ceil_mode exclusive data_format pooling_type global_pooling adaptive padding_algorithm",
    ),
    "pool3d": (
        "native.pool3d",
        "x kernel_size strides paddings ceil_mode exclusive data_format pooling_type global_pooling adaptive padding_algorithm",
    ),
    "max_pool2d_with_index": (
        "native.max_pool2d_with_index",
        "x kernel_size strides paddings global_pooling adaptive ceil_mode",
    ),
    "max_pool3d_with_index": (
        "native.max_pool3d_with_index",
        "x kernel_size strides paddings global_pooling adaptive ceil_mode",
    ),
    **{name: ("replayed.interpolate", f"{SIZES} ='{name}' {HOW}") for name in INTERPOLATIONS},
    "pad": ("native.pad", "x paddings pad_value:n"),
    "pad3d": ("native.pad3d", "x paddings:n mode pad_value data_format"),
    "grid_sample": ("native.grid_sample", "x grid mode padding_mode align_corners"),
    "affine_grid": ("native.affine_grid", "input output_shape:n align_corners"),
    "pixel_shuffle": ("native.pixel_shuffle", "x upscale_factor data_format"),
    "pixel_unshuffle": ("native.pixel_unshuffle", "x downscale_factor data_format"),
    "channel_shuffle": ("native.channel_shuffle", "x groups data_format"),
    "unfold": ("native.unfold", "x kernel_sizes strides paddings dilations"),
    "fold": ("native.fold", "x output_sizes kernel_sizes strides paddings dilations"),
    "temporal_shift": ("native.temporal_shift", "x seg_num shift_ratio data_format"),
    "roi_align": ("native.roi_align", "x boxes boxes_num pooled_height pooled_width spatial_scale sampling_ratio aligned"),
    "roi_pool": ("native.roi_pool", "x boxes boxes_num pooled_height pooled_width spatial_scale"),
    "psroi_pool": ("native.psroi_pool", "x boxes boxes_num pooled_height pooled_width output_channels spatial_scale"),
    "prior_box": (
        "native.prior_box",
        "input image min_sizes max_sizes aspect_ratios variances flip clip step_w step_h offset min_max_aspect_ratios_order",
    ),
    "box_coder": ("native.box_coder", "prior_box prior_box_var target_box code_type box_normalized axis variance"),
    "yolo_box": (
        "native.yolo_box",
        "x img_size anchors class_num conf_thresh downsample_ratio clip_bbox scale_x_y iou_aware iou_aware_factor",
    ),
    "multiclass_nms3": (
        "native.multiclass_nms3",
        "bboxes scores rois_num score_threshold nms_top_k keep_top_k nms_threshold normalized nms_eta background_label",
    ),
    "matrix_nms": (
        "native.matrix_nms",
        "bboxes scores score_threshold nms_top_k keep_top_k post_threshold use_gaussian gaussian_sigma background_label normalized",
    ),
    "generate_proposals": (
        "native.generate_proposals",
        "scores bbox_deltas im_shape anchors variances pre_nms_top_n post_nms_top_n nms_thresh min_size eta pixel_offset",
    ),
    "distribute_fpn_proposals": (
        "native.distribute_fpn_proposals",
        "fpn_rois rois_num min_level max_level refer_level refer_scale pixel_offset",
    ),
}
