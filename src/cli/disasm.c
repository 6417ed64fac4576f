/* SPDX-License-Identifier: MIT */
/* ferry disasm: the instructions of a program, with source lines and the machine code made of them. */
#include <Zydis/Zydis.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <stdio.h>
#include <string.h>

#include "bpf/sys.h"
#include "cli/cli.h"
#include "helper/helper.h"
#include "isa/isa.h"
#include "jit/jit.h"


struct disasm {
	const char *file, *only;
	struct cli_modules modules;
	bool jit, json, loaded;
	struct cli_object o;
	struct text out;
	u32 programs;
	/* the program at hand */
	const struct bpf_insn *insns;
	u32 cnt;
	struct prog *prog; /* as loaded; NULL when refused */
	struct jit_image image;
	const struct prog_line *line; /* printed last */
	char name[128];
};

static const char help[] =
	"Usage: ferry disasm [OPTIONS] FILE.o\n\n"
	"Prints the instructions of the programs of an object file with their source lines. A program\n"
	"that is refused is printed as it stands in the file.\n\n"
	"Options:\n"
	"  --prog NAME     only this program\n"
	"  --jit           also the machine code made of each instruction\n"
	"  --module LIB    load a shared library that exports a module of native functions\n"
	"  --json          print the programs as one JSON array\n"
	"  --help          this text\n\n"
	"Exit codes: 0 done, 1 --jit and there is no machine code, 2 usage, 3 bad input file.\n";

static int parse(struct disasm *d, int argc, char **argv)
{
	static const struct option options[] = {
		{ "prog", required_argument, NULL, 'p' },   { "jit", no_argument, NULL, 'J' },
		{ "module", required_argument, NULL, 'm' }, { "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'p': d->only = optarg; break;
		case 'j': d->json = true; break;
		case 'J': d->jit = true; break;
		case 'm':
			if (!cli_module_add(&d->modules, optarg))
				return cli_usage(&cli_disasm, "more than %d modules", CLI_MAX_MODULES);
			break;
		default: return cli_bad_option(&cli_disasm, argv);
		}
	}
	if (optind + 1 != argc)
		return cli_usage(&cli_disasm, "expected one object file, got %d", argc - optind);
	d->file = argv[optind];
	return CLI_OK;
}

static const char *call_name(void *arg, const struct bpf_insn *insn, u32 at)
{
	struct disasm *d = arg;
	const char *name;

	(void)at;
	if (insn->src_reg == 0 && (name = helper_name((u32)insn->imm))) {
		snprintf(d->name, sizeof(d->name), "bpf_%s", name);
		return d->name;
	}
	if (insn->src_reg == BPF_PSEUDO_KFUNC_CALL && d->prog && (u32)insn->imm < d->prog->nnatives)
		return d->prog->natives[insn->imm]->name;
	return NULL;
}

static const char *map_name(void *arg, const struct bpf_insn *insn, u32 at)
{
	struct disasm *d = arg;
	bool is_map = insn->src_reg == BPF_PSEUDO_MAP_FD || insn->src_reg == BPF_PSEUDO_MAP_VALUE;

	(void)at;
	if (!d->prog || !is_map || (u32)insn->imm >= d->prog->nmaps)
		return NULL;
	if (insn->src_reg == BPF_PSEUDO_MAP_FD)
		snprintf(d->name, sizeof(d->name), "map[%s]", d->prog->maps[insn->imm]->attr.name);
	else
		snprintf(d->name, sizeof(d->name), "map[%s]+%d", d->prog->maps[insn->imm]->attr.name,
			 insn[1].imm);
	return d->name;
}

static void put_machine(struct disasm *d, u32 at)
{
	u32 off = d->image.insn_off[at], end = d->image.insn_off[at + 1];
	ZydisDisassembledInstruction ins;
	bool first = true;

	for (; off < end; off += ins.info.length, first = false) {
		/* Jumps stay inside and are shown as offsets; calls leave: their address is real. */
		u64 base = d->image.code[off] == 0xe8 ? (u64)(uintptr_t)d->image.code : 0;

		if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, base + off,
							d->image.code + off, end - off, &ins)))
			return;
		if (d->json) {
			text_puts(&d->out, first ? "" : ",");
			text_json(&d->out, ins.text);
		} else {
			text_printf(&d->out, "              %s%6x  %s%s\n", cli_dim(), off, ins.text, cli_plain());
		}
	}
}

static void put_source(struct disasm *d, u32 at)
{
	const struct prog_line *line = d->prog ? prog_line_at(d->prog, at) : NULL;
	bool same = line && d->line && line->line == d->line->line && line->file == d->line->file;
	const char *slash;

	if (!line || line->insn != at || (same && !d->json))
		return;
	d->line = line;
	if (d->json) {
		text_puts(&d->out, ",\"file\":");
		text_json(&d->out, line->file);
		text_printf(&d->out, ",\"line\":%u,\"source\":", line->line);
		text_json(&d->out, line->text);
		return;
	}
	slash = strrchr(line->file, '/');
	text_printf(&d->out, "%s; %s  (%s:%u)%s\n", cli_green(), line->text + strspn(line->text, " \t"),
		    slash ? slash + 1 : line->file, line->line, cli_plain());
}

static void put_insn(struct disasm *d, u32 at)
{
	const struct isa_names names = { call_name, map_name, d };
	const struct bpf_insn *insn = &d->insns[at];
	struct text one = { 0 };

	isa_disasm(insn, at, &names, &one);
	if (d->json) {
		text_printf(&d->out, "%s{\"insn\":%u,\"text\":", at ? "," : "", at);
		text_json(&d->out, text_str(&one));
		put_source(d, at);
		if (d->image.code) {
			text_puts(&d->out, ",\"machine\":[");
			put_machine(d, at);
			text_puts(&d->out, "]");
		}
		text_puts(&d->out, "}");
	} else {
		put_source(d, at);
		text_printf(&d->out, "%6u: %s\n", at, text_str(&one));
		if (d->image.code)
			put_machine(d, at);
	}
	text_free(&one);
}

static const char *func_name(const struct disasm *d, u32 at)
{
	const struct btf_type *t;
	u32 i;

	for (i = 0; d->prog && i < d->prog->nfuncs; i++) {
		if (d->prog->funcs[i].start != at)
			continue;
		t = d->prog->btf && d->prog->funcs[i].btf_id ?
			    btf__type_by_id(d->prog->btf, d->prog->funcs[i].btf_id) : NULL;
		return t ? btf__name_by_offset(d->prog->btf, t->name_off) : "subprogram";
	}
	return NULL;
}

static void put_program(struct disasm *d, const struct bpf_program *prog)
{
	const char *func;
	u32 at;

	d->prog = d->loaded ? sys_fd_prog(bpf_program__fd(prog)) : NULL;
	memset(&d->image, 0, sizeof(d->image));
	d->line = NULL;
	/* As loaded, references are indices; before, what the file holds. */
	d->insns = d->prog ? d->prog->insns : bpf_program__insns(prog);
	d->cnt = d->prog ? d->prog->insn_cnt : (u32)bpf_program__insn_cnt(prog);
	if (d->jit && d->prog && jit_image(d->prog, &d->image) < 0)
		d->image.code = NULL;
	if (d->json) {
		text_puts(&d->out, d->programs ? ",{\"program\":" : "{\"program\":");
		text_json(&d->out, bpf_program__name(prog));
		text_printf(&d->out, ",\"loaded\":%s,\"machine_bytes\":%u,\"insns\":[",
			    d->prog ? "true" : "false", d->image.size);
	} else {
		text_printf(&d->out, "%s%s%s%s (%s)%s", d->programs ? "\n" : "", cli_bold(),
			    bpf_program__name(prog), cli_plain(), bpf_program__section_name(prog),
			    d->prog ? "" : ", not loaded");
		if (d->image.code)
			text_printf(&d->out, ", %u bytes of machine code", d->image.size);
		text_puts(&d->out, ":\n");
	}
	for (at = 0; at < d->cnt; at += at + 1 < d->cnt ? isa_slots(&d->insns[at]) : 1) {
		func = at && !d->json ? func_name(d, at) : NULL;
		if (func)
			text_printf(&d->out, "%s%s%s:\n", cli_bold(), func, cli_plain());
		put_insn(d, at);
	}
	text_puts(&d->out, d->json ? "]}" : "");
	d->programs++;
	if (d->prog)
		sys_prog_put(d->prog);
}

static int disasm_all(struct disasm *d)
{
	struct bpf_program *prog;
	int code = cli_open(&d->o, d->file);

	if (code)
		return code;
	cli_progress_on(d->file, "verifying");
	d->loaded = !bpf_object__load(d->o.obj);
	cli_progress_off();
	if (!d->loaded) {
		/* A failed load leaves nothing to look at: open the file again. */
		fprintf(stderr, "%s", cli_messages());
		cli_close(&d->o);
		code = cli_open(&d->o, d->file);
		if (code)
			return code;
	}
	bpf_object__for_each_program(prog, d->o.obj) {
		if (!d->only || !strcmp(d->only, bpf_program__name(prog)))
			put_program(d, prog);
	}
	if (!d->programs)
		return cli_pick(&d->o, d->only ? d->only : "") ? CLI_OK : CLI_INPUT;
	if (d->json)
		printf("[%s]\n", text_str(&d->out));
	else
		fputs(text_str(&d->out), stdout);
	if (d->jit && !d->image.code)
		return cli_fail(CLI_REFUSED, "%s", d->loaded ? "programs are interpreted here: no machine code" :
								 "refused, so there is no machine code");
	return CLI_OK;
}

static int disasm_main(int argc, char **argv)
{
	struct disasm d = { 0 };
	int code = parse(&d, argc, argv);

	if (!code)
		code = cli_modules_load(&d.modules);
	if (!code)
		code = disasm_all(&d);
	if (d.o.obj)
		cli_close(&d.o);
	text_free(&d.out);
	return code;
}

const struct cli_verb cli_disasm = { "disasm", "print instructions and machine code", disasm_main, help };
