"""Bad inputs by number, what happens to each, and the tests that show it: the data of docs/reliability.md."""

from __future__ import annotations

from typing import NamedTuple

ANSWER = "test_each_file_gets_its_answer"
BAD = "test_bad_settings_are_one_sentence"
LETS_THROUGH = "test_what_the_scan_lets_through_loads_or_is_refused"
HARMLESS = "what is odd and harmless is loaded and checked"
ARGUMENTS = "test_bad_arguments_are_one_sentence"


class Row(NamedTuple):
    """One kind of bad input.

    number: of the list in the section; several entries may share one.
    given: the input in words.
    outcome: exit code and what is said, or the verdict.
    tests: the names of the tests, each of which shows it.
    """

    number: int
    given: str
    outcome: str
    tests: tuple[str, ...]


class Subject(NamedTuple):
    """A model whose verdict is known before it is audited.

    model: in words.
    answer: what the audit must find.
    tests: as in `Row`.
    """

    model: str
    answer: str
    tests: tuple[str, ...]


SUBJECTS: tuple[Subject, ...] = (
    Subject("an oracle", "passed, and the interval is that of Clopper and Pearson without an error", ("test_an_oracle_passes",)),
    Subject("a constant model", "FAILED at accuracy 1/K; a finding names the constant prediction; never robust", ("test_a_constant_model_fails", "test_a_constant_model_is_not_called_robust")),
    Subject("a random model, and an oracle on permuted labels", "FAILED at accuracy near 1/K", ("test_a_random_model_fails", "test_permuted_labels_fail")),
    Subject("a model exactly at the limit", "not proven", ("test_a_model_at_the_limit_is_not_proven",)),
    Subject("a model with NaN for one class", "that class counts as incorrect, FAILED", ("test_logits_that_are_not_finite_fail",)),
    Subject("a linear classifier", "robust accuracy and minimal perturbations in closed form; no masking check fails", ("test_the_oracle_falls_exactly_at_its_minimal_norm", "test_honest_gradients_raise_no_flag", "test_on_a_linear_classifier_the_certificate_is_exact", "test_robust_accuracy_is_the_closed_form_with_the_interval_of_the_sign_tracks")),
    Subject("a model miscalibrated by a known amount", "that calibration error, and the gate fails", ("test_a_miscalibrated_model_has_its_known_error", "test_overconfidence_is_found_and_temperature_scaling_removes_it")),
    Subject("a model biased by a known gap", "that gap, and the gate fails", ("test_a_biased_model_has_its_known_gap", "test_a_known_gap_on_dark_images_lies_in_its_interval_and_fails_the_gate")),
    Subject("a model that hides its gradient", "its masking check fails, and no gate on robustness passes", ("test_a_mask_raises_its_flag_and_falls_to_the_second_look", "test_no_gate_on_robustness_passes_under_a_flag")),
    Subject("a model that memorised its training images", "a membership advantage of the planted size, and the gate fails", ("test_a_planted_leak_is_found_by_both_attacks_and_fails_the_gate",)),
    Subject("an INT8 file that lost a class", "negative flips and accuracy lost as planted, and the gates fail", ("test_an_int8_file_that_lost_something_fails",)),
)  # fmt: skip

SECTIONS: dict[str, tuple[Row, ...]] = {
    "Model files": (
        Row(1, "`.keras` file with a Lambda layer or bytecode, in every place of the configuration", "5, names the place", (ANSWER,)),
        Row(2, "Lambda inside a sub-model, TimeDistributed or Bidirectional", "5", (ANSWER,)),
        Row(3, "Lambda with a named function, which the safe mode of Keras loads", "5", (ANSWER, "test_a_lambda_is_refused_by_the_scan")),
        Row(4, "TFSMLayer, TorchModuleWrapper, JaxLayer, FlaxLayer", "5", (ANSWER,)),
        Row(5, "modules outside Keras, private modules, odd registered names", f"5; {HARMLESS}", (ANSWER, LETS_THROUGH)),
        Row(6, "function objects as initializer, activation or loss", "5; a public function of Keras by its name is allowed", (ANSWER, "test_allowed_activations_are_public_functions_of_keras")),
        Row(7, "vocabulary by path or address", "5", (ANSWER,)),
        Row(8, "legacy `.h5` with a Lambda", "5", (ANSWER,)),
        Row(8, "clean `.h5` of Keras 2 or 3", "accepted; the configuration of Keras 2 is repaired in a private copy, and the repairs are recorded", ("test_a_whole_model_of_keras_2_answers_as_it_did",)),
        Row(9, "content that is not what its name says; empty file, folder, pipe, device, link, dangling link", "5", (ANSWER, "test_what_is_no_file_is_not_waited_for")),
        Row(10, "truncated at every sixteenth of its length", "4 or 5, \"damaged\", never \"not found\"", ("test_a_truncated_file_is_damaged_and_not_missing", ANSWER)),
        Row(11, "one byte changed", "4, or accepted with another fingerprint, so that nothing stored is reused", (ANSWER, "test_a_changed_weight_changes_the_fingerprint")),
        Row(12, "a member that unpacks to more than the bound", "5, without unpacking it", ("test_a_member_is_read_to_its_bound_and_no_further", "test_the_command_on_one_file_of_each_kind")),
        Row(13, "HDF5 arrays, chunks and attributes above the bounds", "4 or 5", (ANSWER, "test_each_chunk_is_unpacked_once")),
        Row(14, "HDF5 external storage, virtual data sets, soft and external links", f"5; {HARMLESS}", (ANSWER, LETS_THROUGH)),
        Row(15, "zip with a member twice, with paths, overlaps, encryption, false sizes, too many members", f"4 or 5; {HARMLESS}", (ANSWER, LETS_THROUGH)),
        Row(16, "JSON with great depth, long numbers, NaN, duplicate keys, surrogates, byte-order mark", f"5, before a parser sees what is too deep; {HARMLESS}", (ANSWER, LETS_THROUGH, "test_json_above_the_bounds_reaches_no_parser")),
        Row(17, "a small file that declares a large model", "5, at the memory bound of a limited child process", ("test_a_model_that_needs_more_memory_than_the_bound_is_refused",)),
        Row(18, "weights with NaN or infinity", "5", (ANSWER,)),
        Row(18, "weights all zero", "loaded; a finding names the constant prediction, and the gates fail", ("test_all_zero_weights_load_and_are_found_out", "test_a_constant_model_fails")),
        Row(19, "layer names with paths, control characters or markup, empty or very long", "5 for paths; otherwise shown escaped", (ANSWER, "test_what_a_file_states_is_shown_harmlessly")),
        Row(20, "two inputs or outputs; output of rank 1, 3 or 4; one class; another number of classes than the data", "5, with both numbers", ("test_a_shape_of_no_classifier_is_refused", "test_one_class_and_another_number_of_classes_are_refused")),
        Row(21, "the settings say logits and the file gives probabilities, or the reverse", "5; without the setting the head is read from the file and taken off exactly", ("test_a_contract_that_does_not_fit_is_refused", "test_a_common_head_is_taken_off_exactly")),
        Row(22, "dropout saved in training mode", "off in the audit", ("test_dropout_that_was_saved_as_training_is_off_in_the_audit",)),
        Row(22, "a model that is random at inference, or that depends on the other images of its batch", "5", ("test_a_model_that_answers_otherwise_each_time_is_refused", "test_a_model_that_cannot_be_audited_is_refused")),
        Row(23, "another image size than the model's", "resized as Pillow does, and recorded; a size in the settings that contradicts the file is 5", ("test_another_image_size_is_resized_as_pillow_does", "test_a_contract_that_does_not_fit_is_refused")),
        Row(23, "channels first, grey for RGB, another value range", "5 with both shapes, or measured by `safeml inspect`", ("test_images_of_a_caller_are_refused_in_one_sentence", "test_layouts_and_batches_give_the_closed_form", "test_a_contract_known_by_construction_is_proposed")),
        Row(24, "outputs in float16, bfloat16 or float64", "cast to float32, with a note", ("test_outputs_of_another_float_type_are_cast", "test_half_precision_is_read_as_single_with_a_note")),
        Row(24, "complex, string, integer or boolean outputs", "5", ("test_outputs_of_other_types_are_refused",)),
        Row(25, "ONNX with external data, sparse tensors, another domain, an unknown version", "4 or 5", (ANSWER, "test_external_data_is_refused_wherever_a_tensor_can_stand", "test_sparse_tensors_are_refused_everywhere", "test_external_data_as_onnx_itself_writes_it_is_refused")),
        Row(26, "SavedModel with an operation that reads or writes files or calls code", "4 or 5; the limited load may not write a byte", (ANSWER, "test_an_operator_that_is_not_listed_is_refused_wherever_it_stands", "test_the_first_load_has_bounds_and_only_its_success_goes_on")),
        Row(27, "a TensorRT engine as a model", "5: the engine is built on the device, from a listed file", (ANSWER,)),
        Row(28, "calibration of another model", "there is no cache: the scales are in the file, which is reused only for the same inputs", ("test_an_export_is_reused_only_for_the_same_files", "test_the_folder_is_named_by_all_that_the_result_depends_on")),
        Row(29, "model file replaced between scan and load", "the scanned bytes are audited, and the run is void: 5", ("test_what_was_scanned_is_loaded_and_the_run_is_void",)),
        Row(30, "model file changed or gone during the run; disk full or gone", "4 or 5, no verdict; finished work stays", ("test_what_was_scanned_is_loaded_and_the_run_is_void", "test_a_model_that_was_changed_or_has_gone_since_voids_the_run", "test_a_full_disk_ends_the_run_with_a_sentence_and_the_next_one_goes_on")),
    ),
    "Data and labels": (
        Row(31, "no images", "5", ("test_unsound_npz_is_refused", "test_images_of_a_caller_are_refused_in_one_sentence")),
        Row(31, "one image; images of one class", "measured; its gates are not proven, and metrics of absent classes are undefined", ("test_one_image_proves_nothing", "test_a_class_without_images_leaves_its_metrics_undefined")),
        Row(32, "labels -1, K, 10⁹, 3.7, \"3\", empty, NaN", "5, with file, line and the allowed ids", ("test_unsound_npz_is_refused", "test_a_cell_that_is_no_whole_number_is_refused", "test_labels_that_do_not_fit_the_files_are_refused", "test_labels_of_a_caller_are_refused_in_one_sentence")),
        Row(33, "one-hot labels, labels of shape [N, 1]", "5, with the expression that makes ids of them", ("test_labels_of_a_caller_are_refused_in_one_sentence", "test_unsound_npz_is_refused")),
        Row(34, "more labels than images, or the reverse; a number of an image twice; a label file that was cut", "5", ("test_unsound_npz_is_refused", "test_a_cut_label_file_is_noticed", "test_a_table_that_leaves_a_group_open_is_refused")),
        Row(35, "a class without images, with one, or with fewer than `min_n`", "undefined, or not proven with the number of sign tracks that would decide", ("test_a_class_without_images_leaves_its_metrics_undefined", "test_too_few_images_are_counted_in_signs", "test_too_few_images_for_min_n_cannot_be_proven")),
        Row(36, "image files: empty, truncated, huge by their header, animated, HTML, SVG or TIFF under another name", "5, counted and named; `max_refused` allows some", ("test_what_is_no_still_image_of_a_listed_format_is_refused", "test_a_header_that_declares_a_bomb_is_refused", "test_truncated_missing_and_special_files_are_refused", "test_unreadable_files_are_counted_named_and_left_out_only_when_allowed")),
        Row(36, "image files: CMYK, 16-bit, palette with transparency, EXIF rotation, progressive", "converted by a documented rule, with a note where Keras reads them otherwise", ("test_palette_transparency_and_cmyk_become_rgb", "test_sixteen_bit_grey_is_scaled_not_clipped", "test_exif_orientation_is_applied", "test_a_progressive_file_has_the_pixels_of_its_baseline_twin")),
        Row(37, "pixels from 0 to 255 where 0 to 1 is declared, or the reverse; NaN pixels", "5, with the range found and the range expected", ("test_images_of_a_caller_are_refused_in_one_sentence", "test_unsound_npz_is_refused")),
        Row(37, "constant images", "measured; corruptions and masks stay finite", ("test_constant_images_stay_finite", "test_a_flat_image_is_compared_with_nothing")),
        Row(38, "`.npy` of objects or records, header version 3, a header that declares more than is stored, an archive above the bounds", "5, never unpickled", ("test_unsound_npz_is_refused", "test_headers_that_declare_more_than_is_stored_are_refused", "test_npz_bounds_hold_before_reading", "test_a_header_of_version_3_is_refused")),
        Row(38, "`.npy` in Fortran order or with big-endian numbers", "read, with the same values", ("test_the_order_of_bytes_and_axes_changes_no_value",)),
        Row(39, "the same image in training and test data; copies inside the test data", "a finding with counts; the gate on leakage fails", ("test_planted_copies_are_counted_once_and_named", "test_copies_within_the_test_set", "test_a_planted_copy_raises_a_serious_finding_and_an_alarm")),
        Row(40, "groups: one image, missing values, 10,000 values, equal to the label, Unicode forms of one name", "undefined, a separate group, 5, undefined, one group with a note", ("test_a_group_of_one_image_that_fails_is_named_and_is_no_proof", "test_images_without_a_value_are_a_group", "test_ten_thousand_groups_are_refused", "test_the_metric_of_a_column_that_sorts_by_class_is_undefined", "test_names_that_unicode_regards_as_equal_are_one_group_with_a_note")),
        Row(41, "class names with markup, formulas, templates, control characters, bidirectional marks, 10,000 characters", "shown escaped and shortened everywhere", ("test_hostile_strings_are_shown_and_not_obeyed", "test_markdown_shows_every_text_as_it_is", "test_junit_gives_every_text_back", "test_hostile_strings_stay_in_their_place")),
        Row(41, "class names that are empty, blank, equal, or half a Unicode character", "2", ("test_load_dataset_names_what_is_wrong", "test_a_folder_that_is_not_named_in_utf_8_has_a_name_that_results_can_hold")),
        Row(42, "CSV: UTF-16, Latin-1, ragged rows, an open quote, a cell above the bound", "5, with the line number", ("test_bad_csv_is_refused_with_its_line",)),
        Row(42, "CSV: CRLF, byte-order mark, `;` or tab as separator, a quoted line break", "read", ("test_csv_dialects_read_the_same", "test_a_quoted_line_break_is_part_of_its_cell")),
        Row(43, "a label file that names a path outside of its folder, also through a link", "5", ("test_label_files_cannot_point_out_of_the_folder", "test_folder_links_and_nesting_are_refused")),
        Row(43, "paths: 300 characters, a loop of links, an unreadable folder, a pipe in a class folder, NUL", "2 or 5", ("test_what_the_system_cannot_open_is_one_sentence", "test_a_loop_of_links_and_a_pipe_are_one_sentence", ARGUMENTS)),
        Row(43, "paths with spaces, quotes, line breaks, a leading dash, bytes that are no UTF-8", "read; names that results cannot hold are replaced or refused", ("test_folders_of_any_name_are_read", "test_strange_names_survive_init")),
        Row(44, "more images, labels or bytes than the limits", "5, before anything is read", ("test_npz_bounds_hold_before_reading", "test_read_pixels_refuses_more_than_the_limits")),
        Row(45, "labels in random order", "accuracy near 1/K, FAILED", ("test_permuted_labels_fail",)),
    ),
    "Settings and command line": (
        Row(46, "an empty file; an unknown key; a key or table twice; another type; a list for a table", "2, with the nearest known key", (BAD, "test_bad_recipes_are_one_sentence")),
        Row(47, "limits: NaN, infinity, in quotes, percent by mistake, negative; unknown operator or metric; the wrong direction", "2, before anything runs", (BAD, "test_a_floor_under_a_metric_that_should_be_low_is_refused", "test_a_limit_in_percent_by_mistake_is_a_configuration_error")),
        Row(48, "no gates; contradicting gates; the same gate twice; gates that only warn", "2", (BAD,)),
        Row(49, "epsilon 0, negative, tiny, or on the scale of 255; no steps, images or batch; 10⁹ of them; an unknown corruption", "2", (BAD, "test_bad_settings_are_refused")),
        Row(49, "more images than there are", "all are used, and the report says how many", ("test_fewer_images_than_requested_are_named",)),
        Row(50, "seed negative, 2⁶⁴ or no whole number", "2", (BAD,)),
        Row(51, "deep nesting, 10 MB, NUL, another encoding", "2", (BAD, "test_any_bytes_are_settings_or_a_config_error")),
        Row(51, "byte-order mark, CRLF", "read", ("test_unusual_settings_that_mean_what_they_say_are_taken",)),
        Row(52, "a stage of another package: cannot be imported, ends the process, prints, takes a name in use", "2, names the package; nothing of it reaches standard output", ("test_a_package_that_cannot_be_imported_is_named_and_prints_nothing_to_standard_output", "test_an_entry_point_that_is_no_new_row_is_refused", "test_a_stage_whose_name_is_taken_is_refused")),
        Row(52, "a stage that ends the process with exit code 0", "4: the stage has no evidence", ("test_a_stage_that_ends_the_process_is_missing_evidence", "test_an_unexpected_end_is_missing_evidence_and_no_verdict")),
        Row(53, "settings that are a folder, a pipe or a device; an unknown command or option", "2, without waiting", ("test_what_is_no_file_is_not_waited_for", "test_a_wrong_command_line_says_what_is_wrong")),
        Row(53, "a reader of the output that leaves", "the exit code stays that of the verdict", ("test_the_exit_code_survives_a_reader_that_leaves", "test_a_reader_who_leaves_does_not_change_the_verdict")),
        Row(54, "output folder: a file, a dangling link, a foreign page, a trained model, a run of another model or data", "2, nothing overwritten", ("test_out_that_is_no_folder_is_refused", "test_a_folder_with_another_run_is_refused", ARGUMENTS)),
        Row(54, "output folder: a link, another file system, not there yet", "used", ("test_out_may_be_a_link_to_a_folder",)),
        Row(54, "output folder: full, read-only or with an error at any call", "2 or 4; the old file or the new one, never half", ("test_whatever_call_fails_nothing_is_half_written_and_the_next_run_works", "test_a_full_disk_ends_the_run_with_a_sentence_and_the_next_one_goes_on")),
    ),
    "Environment and faults": (
        Row(55, "kill -9 at any moment of an audit or a training, then the same command", "the bytes of an undisturbed run", ("test_kill_9_in_every_kind_of_work_changes_no_byte", "test_kill_9_at_random_moments_changes_nothing", "test_a_training_that_is_killed_at_random_moments_ends_with_the_same_bytes")),
        Row(55, "a worker process is killed, of this machine or of Dask", "the bytes of one process", ("test_the_bytes_are_those_of_one_process_with_a_worker_killed",)),
        Row(55, "a shard that ends every worker; no workers any more; slices that stay missing; two workers that disagree", "4, its stage is an error; the same command resumes", ("test_a_shard_that_ends_every_worker_leaves_the_run_incomplete_and_the_same_command_resumes", "test_what_ends_a_shard_ends_its_stage_with_a_sentence", "test_a_slice_that_stays_missing_is_an_error_and_never_a_result", "test_two_workers_that_disagree_about_a_slice_are_an_error")),
        Row(55, "a worker with other versions", "refused by name: 2, or 4 if it comes during the run", ("test_a_worker_with_another_version_is_refused_by_name", "test_a_worker_of_dask_that_differs_is_refused_before_the_run")),
        Row(56, "SIGINT, SIGTERM, SIGHUP, repeated", "130 or 143; lock released, no child left", ("test_a_signal_ends_a_run_cleanly_and_quickly", "test_a_signal_before_all_is_imported_is_no_traceback")),
        Row(57, "an error of the system at every call that writes", "the old file or the new one, never half", ("test_a_failure_at_any_call_leaves_the_old_file_or_the_new", "test_whatever_call_fails_nothing_is_half_written_and_the_next_run_works")),
        Row(58, "memory exhausted at every batch", "half the batch, the same numbers, a finding", ("test_a_failure_at_the_nth_pass_changes_no_number", "test_where_not_one_image_fits_the_stage_says_so")),
        Row(59, "the child process is killed, crashes or hangs", "a typed failure within its time; nothing stays behind", ("test_every_other_end_is_typed", "test_a_hanging_function_is_ended_with_all_that_it_started")),
        Row(60, "no GPU, or a device that fails during the run", "TensorFlow computes on what there is, and the devices are recorded; a failure is missing evidence: 4", ("test_the_devices_of_tensorflow_are_recorded_where_it_was_started", "test_a_crashed_stage_never_passes")),
        Row(61, "a required package absent or broken", "2, with the command that installs safeml again", ("test_an_installation_that_does_not_start_is_one_sentence",)),
        Row(61, "TensorFlow absent, broken or too old", "2, with the command that installs it; other commands work", ("test_without_tensorflow_what_needs_it_says_what_to_install", "test_without_tensorflow_results_are_read", "test_the_doctor_names_what_is_absent_or_too_old")),
        Row(62, "two runs in one folder; a lock of a process that is gone", "2 with the process id; taken over", ("test_two_runs_at_once_are_one_run", "test_a_killed_run_is_taken_over_and_known")),
        Row(63, "clock set back, another time zone, locale or hash seed, checks by assert switched off", "the same bytes", ("test_a_clock_that_is_set_back_changes_no_byte_and_no_duration", "test_another_environment_gives_the_same_bytes", "test_reports_gates_and_settings_are_the_same_bytes")),
        Row(64, "stored work that was edited, truncated, or is of another version", "measured again, with a note", ("test_a_damaged_or_edited_stage_is_measured_again", "test_a_damaged_or_foreign_slice_is_measured_again_and_noted", "test_an_edit_changes_the_key_unless_the_room_measures_nothing")),
        Row(65, "no home, no folder for temporary files, umask 077, a user without a name", "works, with the same bytes", ("test_a_training_that_is_killed_after_an_epoch_ends_with_the_same_bytes", "test_another_environment_gives_the_same_bytes")),
        Row(66, "no network", "never used", ("test_a_training_that_is_killed_after_an_epoch_ends_with_the_same_bytes", "test_the_hook_that_takes_the_network_away_works")),
    ),
    "Logits and audits": (
        Row(67, "logits that are NaN or infinite", "an incorrect prediction, never class 0 and never left out", ("test_non_finite_logits_are_mistakes_of_every_class_and_never_dropped", "test_logits_of_nan_are_accuracy_zero")),
        Row(67, "logits that are huge, or all equal", "the softmax is finite and exact; ties are counted and reported", ("test_softmax_of_huge_logits_is_finite_and_exact", "test_ties_are_counted")),
        Row(68, "an attack that returns NaN, leaves its ball, changes type or shape, or writes into its input", "recomputed by the audit; the image counts as attacked", ("test_an_attack_that_breaks_its_contract_never_makes_a_model_robust", "test_an_attack_that_writes_into_its_inputs_does_not_move_the_clean_images", "test_an_attack_that_raises_stops_the_stage_and_no_gate_passes")),
        Row(69, "a model whose gradient is zero, hidden or absent", "a masking check fails, and no gate on robustness passes", ("test_no_gate_on_robustness_passes_under_a_flag", "test_no_gate_passes_without_a_gradient", "test_each_defect_fails_its_check_alone")),
        Row(70, "clean accuracy 0 or 1, no image to attack", "robust accuracy 0, an undefined success rate, no division by zero", ("test_clean_accuracy_zero_is_robust_accuracy_zero_and_nothing_else_is_claimed", "test_a_perfect_model")),
        Row(71, "an explanation that the model cannot have, or a constant map", "not applicable with its reason, or undefined", ("test_what_a_model_cannot_have_is_named", "test_a_constant_model_has_no_map_and_no_number", "test_a_method_that_the_model_cannot_have_leaves_the_others")),
        Row(72, "an INT8 model with another order of classes, a constant prediction, or one class lost", "the gates of the comparison fail, with the class", ("test_an_int8_file_that_lost_something_fails",)),
        Row(73, "quantization of a model with layers that have no INT8 form", "4, with their names; the float model is untouched", ("test_a_layer_without_an_int8_form_is_refused_until_it_is_kept_in_float", "test_a_model_that_cannot_be_quantized_is_refused")),
        Row(74, "a temperature that does not converge, or that is fitted on test images", "no temperature with its reason; the shared images are left out or refused", ("test_where_no_temperature_is_best_the_reason_is_given", "test_validation_images_of_the_test_set_leave_and_many_refuse_all", "test_inadmissible_images_and_models_are_refused")),
    ),
    "Report, bundle and device": (
        Row(75, "a report of 43 classes, every corruption and 1,000 findings", "bounded in size and time, without scripts", ("test_a_page_of_a_thousand_findings_is_bounded", "test_sizes_and_time_are_bounded", "test_pages_hold_known_elements_and_nothing_active")),
        Row(76, "results that were edited, are of a newer format, or have unknown fields", "5; \"newer\"; 5 with the field", ("test_results_that_are_not_whole_are_refused", "test_a_forged_verdict_is_refused", "test_a_verdict_whose_alarms_were_removed_is_forged")),
        Row(76, "a signed report with a file changed, missing or added, another key, another kind of payload", "5; where another report is drawn beside a signature, every page warns", ("test_whatever_changes_is_refused_and_told", "test_each_covered_file_is_checked", "test_only_a_trusted_key_counts_and_a_false_signature_by_one_refuses", "test_another_kind_of_payload_and_the_statement_of_a_bundle_are_refused", "test_a_report_that_is_drawn_again_stays_signed_and_another_result_makes_the_signature_stale")),
        Row(76, "a recorded waiver whose last day is no day, or is past", "5; 1 at `gate`, and named by `report`, `compare` and `history`", ("test_a_recorded_waiver_without_a_valid_day_is_refused_wherever_the_run_is_read", "test_an_expired_waiver_fails_at_gate_and_is_told_at_report_and_compare_and_history")),
        Row(77, "a bundle with a bad signature, an unknown key, other bytes, another device, an expired date", "refused with a separate code, nothing installed", ("test_a_signed_bundle_that_is_not_for_this_device_is_refused", "test_a_signature_that_does_not_verify_refuses_all", "test_nothing_signed_is_parsed_before_its_signature", "test_a_refused_bundle_leaves_both_slots_and_its_reason")),
        Row(77, "the same release again, or an older one", "refused, also after a rollback", ("test_the_same_and_an_older_release_are_refused_also_after_a_rollback",)),
        Row(77, "a bundle with a file too many, too few, of another length, with `..`, twice, or alike but for its case", "refused with a separate code, nothing left", ("test_a_file_of_another_form_is_refused_and_nothing_is_left", "test_an_unsafe_name_is_refused", "test_collisions_have_codes_of_their_own")),
        Row(77, "any byte of a bundle changed, cut, dropped or added", "refused, and nothing of its slot is left", ("test_every_byte_matters", "test_no_byte_can_be_cut_dropped_or_added", "test_a_tampered_bundle_leaves_nothing_of_its_slot")),
        Row(78, "power cut, or a disk that fails, at any call of an installation", "the old release or the new one, never a mixture", ("test_a_power_cut_at_any_call_leaves_the_old_release_or_the_new", "test_a_disk_that_fails_at_any_call_leaves_the_old_release_or_the_new", "test_a_power_cut_during_the_recovery_is_recovered")),
        Row(79, "a self-test that differs beyond its tolerance, raises, or answers something else", "4, nothing installed; at a start, back to the release before", ("test_a_self_test_that_differs_installs_nothing_and_exits_with_4", "test_a_self_test_that_raises_is_a_failed_one", "test_a_self_test_that_differs_at_a_start_rolls_the_device_back")),
        Row(80, "a camera frame that is black, saturated, frozen or of another size, or outputs that are not finite", "\"unknown\", or \"not trusted\" with its reason", ("test_a_bad_image_has_its_code", "test_equal_images_in_succession_are_a_frozen_camera", "test_a_frame_that_is_unfit_falls_back_without_the_model", "test_the_whole_monitor_answers_a_bad_frame_without_an_exception")),
        Row(80, "a device that is hot, slow or runs for long", "it pauses, or falls back; memory stays flat", ("test_a_hot_device_pauses", "test_a_slow_answer_falls_back", "test_memory_is_flat_over_many_frames")),
    ),
}  # fmt: skip
