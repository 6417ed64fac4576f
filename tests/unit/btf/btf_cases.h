/* SPDX-License-Identifier: MIT */
/*
 * BTF made by hand, with the verdict of a 6.1 kernel: what libbpf loads to probe for features, and
 * what is wrong in one way each. Both the unit test and the comparison with the kernel use it.
 */
#ifndef FERRY_BTF_CASES_H
#define FERRY_BTF_CASES_H

#include "btf_test.h"

static inline struct btf_type *type_at(struct btf *b, int id)
{
	return (struct btf_type *)(uintptr_t)btf__type_by_id(b, (u32)id);
}

/* [1] int, as in every probe of libbpf. */
static inline struct btf *with_int(void)
{
	struct btf *b = btf__new_empty();

	assert_int_equal(btf__add_int(b, "int", 4, BTF_INT_SIGNED), 1);
	return b;
}

static inline void probe_int(struct btf *b) { (void)b; }
static inline void probe_func(struct btf *b)
{
	btf__add_func_proto(b, 0);
	btf__add_func_param(b, "a", 1);
	btf__add_func(b, "x", BTF_FUNC_STATIC, 2);
}
static inline void probe_func_global(struct btf *b)
{
	btf__add_func_proto(b, 0);
	btf__add_func_param(b, "a", 1);
	btf__add_func(b, "x", BTF_FUNC_GLOBAL, 2);
}
static inline void probe_datasec(struct btf *b)
{
	btf__add_var(b, "x", BTF_VAR_STATIC, 1);
	btf__add_datasec(b, ".data", 4);
	btf__add_datasec_var_info(b, 2, 0, 4);
}
static inline void probe_float(struct btf *b) { btf__add_float(b, "float", 4); }
static inline void probe_decl_tag(struct btf *b)
{
	btf__add_var(b, "x", BTF_VAR_STATIC, 1);
	btf__add_decl_tag(b, "tag", 2, -1);
}
static inline void probe_type_tag(struct btf *b)
{
	btf__add_type_tag(b, "attr", 1);
	btf__add_ptr(b, 2);
}
static inline void probe_enum64(struct btf *b)
{
	btf__add_enum64(b, "e", 8, false);
	btf__add_enum64_value(b, "a", 1ull << 40);
}
static inline void self_pointer_member(struct btf *b)
{
	btf__add_struct(b, "list", 8);
	btf__add_field(b, "next", 3, 0, 0);
	btf__add_ptr(b, 2);
}
static inline void self_member(struct btf *b)
{
	btf__add_struct(b, "s", 8);
	btf__add_field(b, "s", 2, 0, 0);
}
static inline void self_member_array(struct btf *b)
{
	btf__add_struct(b, "s", 8);
	btf__add_field(b, "s", 3, 0, 0);
	btf__add_array(b, 1, 2, 1);
}
static inline void typedef_loop(struct btf *b)
{
	btf__add_typedef(b, "a", 3);
	btf__add_typedef(b, "b", 2);
}
static inline void pointer_loop(struct btf *b)
{
	btf__add_ptr(b, 3);
	btf__add_const(b, 2);
}
static inline void pointer_typedef_member_loop(struct btf *b)
{
	btf__add_struct(b, "s", 8);
	btf__add_field(b, "m", 3, 0, 0);
	btf__add_typedef(b, "t", 4);
	btf__add_ptr(b, 3);
}
static inline void chain(struct btf *b, u32 n)
{
	u32 i;

	/* The first refers to the second and so on: each must be resolved before the one before. */
	for (i = 0; i < n; i++)
		btf__add_const(b, (int)btf__type_cnt(b) + 1);
	btf__add_typedef(b, "end", 1);
}
static inline void chain_31(struct btf *b) { chain(b, 31); }
static inline void chain_32(struct btf *b) { chain(b, 32); }
static inline void chain_1000(struct btf *b) { chain(b, 1000); }
static inline void nested_structs(struct btf *b, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%u", i);
		btf__add_struct(b, name, 4);
		btf__add_field(b, "m", i + 1 < n ? (int)btf__type_cnt(b) : 1, 0, 0);
	}
}
static inline void nested_32(struct btf *b) { nested_structs(b, 32); }
static inline void nested_33(struct btf *b) { nested_structs(b, 33); }
static inline void backwards_chain(struct btf *b)
{
	u32 i;

	/* Each is resolved when the next comes; the limit on chains of modifiers is still 32. */
	btf__add_typedef(b, "end", 1);
	for (i = 0; i < 100; i++)
		btf__add_const(b, (int)btf__type_cnt(b) - 1);
}
static inline void array_too_large(struct btf *b)
{
	btf__add_array(b, 1, 1, 0x40000000);
}
static inline void array_as_large_as_may_be(struct btf *b)
{
	btf__add_array(b, 1, 1, 0x3fffffff);
}
static inline void array_of_void(struct btf *b) { btf__add_array(b, 1, 0, 3); }
static inline void array_indexed_by_pointer(struct btf *b)
{
	btf__add_ptr(b, 1);
	btf__add_array(b, 2, 1, 3);
}
static inline void array_of_functions(struct btf *b)
{
	btf__add_func_proto(b, 1);
	btf__add_array(b, 1, 2, 3);
}
static inline void member_outside(struct btf *b)
{
	btf__add_struct(b, "s", 4);
	btf__add_field(b, "a", 1, 8, 0);
}
static inline void member_at_end_of_no_size(struct btf *b)
{
	btf__add_array(b, 1, 1, 0);
	btf__add_struct(b, "s", 4);
	btf__add_field(b, "a", 1, 0, 0);
	btf__add_field(b, "flex", 2, 32, 0);
}
static inline void members_out_of_order(struct btf *b)
{
	btf__add_struct(b, "s", 16);
	btf__add_field(b, "a", 1, 64, 0);
	btf__add_field(b, "b", 1, 0, 0);
}
static inline void bit_field(struct btf *b)
{
	btf__add_struct(b, "s", 4);
	btf__add_field(b, "a", 1, 0, 7);
	btf__add_field(b, "b", 1, 7, 25);
}
static inline void bit_field_outside(struct btf *b)
{
	btf__add_struct(b, "s", 4);
	btf__add_field(b, "a", 1, 7, 26);
}
static inline void bit_field_wider_than_its_type(struct btf *b)
{
	btf__add_struct(b, "s", 16);
	btf__add_field(b, "a", 1, 0, 33);
}
static inline void bit_field_of_pointer(struct btf *b)
{
	btf__add_ptr(b, 1);
	btf__add_struct(b, "s", 8);
	btf__add_field(b, "a", 2, 0, 3);
}
static inline void member_of_void(struct btf *b)
{
	btf__add_struct(b, "s", 8);
	btf__add_field(b, "a", 0, 0, 0);
}
static inline void member_of_fwd(struct btf *b)
{
	btf__add_fwd(b, "f", BTF_FWD_STRUCT);
	btf__add_struct(b, "s", 8);
	btf__add_field(b, "a", 2, 0, 0);
}
static inline void member_named_badly(struct btf *b)
{
	btf__add_struct(b, "s", 8);
	btf__add_field(b, "a-b", 1, 0, 0);
}
static inline void type_not_there(struct btf *b) { btf__add_ptr(b, 77); }
static inline void pointer_to_variable(struct btf *b)
{
	btf__add_var(b, "x", BTF_VAR_STATIC, 1);
	btf__add_ptr(b, 2);
}
static inline void variable_of_void(struct btf *b) { btf__add_var(b, "x", BTF_VAR_STATIC, 0); }
static inline void variable_of_fwd(struct btf *b)
{
	btf__add_fwd(b, "f", BTF_FWD_UNION);
	btf__add_var(b, "x", BTF_VAR_STATIC, 2);
}
static inline void variable_extern(struct btf *b)
{
	btf__add_var(b, "x", BTF_VAR_GLOBAL_EXTERN, 1);
}
static inline void section_too_small(struct btf *b)
{
	btf__add_var(b, "x", BTF_VAR_STATIC, 1);
	btf__add_datasec(b, ".data", 4);
	btf__add_datasec_var_info(b, 2, 0, 2);
}
static inline void section_overlaps(struct btf *b)
{
	btf__add_var(b, "x", BTF_VAR_STATIC, 1);
	btf__add_var(b, "y", BTF_VAR_STATIC, 1);
	btf__add_datasec(b, ".data", 8);
	btf__add_datasec_var_info(b, 2, 0, 4);
	btf__add_datasec_var_info(b, 3, 2, 4);
}
static inline void section_of_types(struct btf *b)
{
	btf__add_datasec(b, ".data", 8);
	btf__add_datasec_var_info(b, 1, 0, 4);
}
static inline void section_empty(struct btf *b) { btf__add_datasec(b, ".data", 0); }
static inline void func_without_proto(struct btf *b) { btf__add_func(b, "f", BTF_FUNC_STATIC, 1); }
static inline void func_extern(struct btf *b)
{
	btf__add_func_proto(b, 1);
	btf__add_func(b, "f", BTF_FUNC_EXTERN, 2);
}
static inline void func_with_nameless_parameter(struct btf *b)
{
	btf__add_func_proto(b, 1);
	btf__add_func_param(b, NULL, 1);
	btf__add_func(b, "f", BTF_FUNC_STATIC, 2);
}
static inline void proto_with_nameless_parameter(struct btf *b)
{
	btf__add_func_proto(b, 1);
	btf__add_func_param(b, NULL, 1);
	btf__add_ptr(b, 2);
}
static inline void proto_returns_function(struct btf *b)
{
	btf__add_func_proto(b, 3);
	btf__add_func_proto(b, 1);
}
static inline void proto_with_void_in_the_middle(struct btf *b)
{
	btf__add_func_proto(b, 1);
	btf__add_func_param(b, NULL, 0);
	btf__add_func_param(b, "x", 1);
}
static inline void float_of_3(struct btf *b)
{
	btf__add_float(b, "f", 4);
	type_at(b, 2)->size = 3;
}
static inline void float_misaligned(struct btf *b)
{
	btf__add_float(b, "f", 8);
	btf__add_struct(b, "s", 16);
	btf__add_field(b, "f", 2, 32, 0);
}
static inline void enum_of_3(struct btf *b)
{
	btf__add_enum(b, "e", 4);
	btf__add_enum_value(b, "A", 1);
	type_at(b, 2)->size = 3;
}
static inline void int_encoding(struct btf *b)
{
	*(u32 *)(type_at(b, 1) + 1) |= 3u << 24;
}
static inline void int_too_wide(struct btf *b)
{
	*(u32 *)(type_at(b, 1) + 1) = 33;
}
static inline void kind_unknown(struct btf *b)
{
	btf__add_ptr(b, 1);
	type_at(b, 2)->info = 20u << 24;
}
static inline void tag_component_outside(struct btf *b)
{
	btf__add_struct(b, "s", 4);
	btf__add_field(b, "a", 1, 0, 0);
	btf__add_decl_tag(b, "t", 2, 1);
}
static inline void tag_of_int(struct btf *b) { btf__add_decl_tag(b, "t", 1, -1); }
static inline void tag_after_modifier(struct btf *b)
{
	btf__add_type_tag(b, "t", 1);
	btf__add_const(b, 2);
	btf__add_ptr(b, 3);
}
static inline void typedef_without_name(struct btf *b)
{
	btf__add_typedef(b, "t", 1);
	type_at(b, 2)->name_off = 0;
}

static const struct {
	const char *name;
	void (*make)(struct btf *b);
	int verdict;
} btf_cases[] = {
#define CASE(name, verdict) { #name, name, verdict }
	CASE(probe_int, 0),
	CASE(probe_func, 0),
	CASE(probe_func_global, 0),
	CASE(probe_datasec, 0),
	CASE(probe_float, 0),
	CASE(probe_decl_tag, 0),
	CASE(probe_type_tag, 0),
	CASE(probe_enum64, 0),
	CASE(self_pointer_member, 0),
	CASE(self_member, -EEXIST),
	CASE(self_member_array, -EEXIST),
	CASE(typedef_loop, -EEXIST),
	CASE(pointer_loop, -EEXIST),
	CASE(pointer_typedef_member_loop, -EEXIST),
	CASE(chain_31, 0),
	CASE(chain_32, -E2BIG),
	CASE(chain_1000, -E2BIG),
	CASE(nested_32, 0),
	CASE(nested_33, -E2BIG),
	CASE(backwards_chain, 0),
	CASE(array_too_large, -EINVAL),
	CASE(array_as_large_as_may_be, 0),
	CASE(array_of_void, -EINVAL),
	CASE(array_indexed_by_pointer, -EINVAL),
	CASE(array_of_functions, -EINVAL),
	CASE(member_outside, -EINVAL),
	CASE(member_at_end_of_no_size, 0),
	CASE(members_out_of_order, -EINVAL),
	CASE(bit_field, 0),
	CASE(bit_field_outside, -EINVAL),
	CASE(bit_field_wider_than_its_type, -EINVAL),
	CASE(bit_field_of_pointer, -EINVAL),
	CASE(member_of_void, -EINVAL),
	CASE(member_of_fwd, -EINVAL),
	CASE(member_named_badly, -EINVAL),
	CASE(type_not_there, -EINVAL),
	CASE(pointer_to_variable, -EINVAL),
	CASE(variable_of_void, -EINVAL),
	CASE(variable_of_fwd, -EINVAL),
	CASE(variable_extern, -EINVAL),
	CASE(section_too_small, -EINVAL),
	CASE(section_overlaps, -EINVAL),
	CASE(section_of_types, -EINVAL),
	CASE(section_empty, -EINVAL),
	CASE(func_without_proto, -EINVAL),
	CASE(func_extern, -EINVAL),
	CASE(func_with_nameless_parameter, -EINVAL),
	CASE(proto_with_nameless_parameter, 0),
	CASE(proto_returns_function, -EINVAL),
	CASE(proto_with_void_in_the_middle, -EINVAL),
	CASE(float_of_3, -EINVAL),
	CASE(float_misaligned, -EINVAL),
	CASE(enum_of_3, -EINVAL),
	CASE(int_encoding, -524),
	CASE(int_too_wide, -EINVAL),
	CASE(kind_unknown, -EINVAL),
	CASE(tag_component_outside, -EINVAL),
	CASE(tag_of_int, -EINVAL),
	CASE(tag_after_modifier, -EINVAL),
	CASE(typedef_without_name, -EINVAL),
#undef CASE
};

static inline u8 *case_bytes(size_t i, u32 *size)
{
	struct btf *b = with_int();
	const void *raw;
	u8 *copy;

	btf_cases[i].make(b);
	raw = btf__raw_data(b, size);
	copy = malloc(*size);
	memcpy(copy, raw, *size);
	btf__free(b);
	return copy;
}

#endif
