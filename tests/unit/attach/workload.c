/* SPDX-License-Identifier: MIT */
/* Workloads of libcrypto, libsqlite3 and libpython, loaded when asked for. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress.h"

static void *load(const char *const *names)
{
	void *h = NULL;

	for (; *names && !h; names++)
		h = dlopen(*names, RTLD_NOW | RTLD_GLOBAL);
	return h;
}

#define FIND(h, name) ((name = (__typeof__(name))dlsym(h, #name)) != NULL)

/* ---- libcrypto: digests of RFC 1321, RFC 6234, FIPS 202; and what is encrypted comes back --------- */

typedef struct evp_md_ctx EVP_MD_CTX;
typedef struct evp_cipher_ctx EVP_CIPHER_CTX;
static EVP_MD_CTX *(*EVP_MD_CTX_new)(void);
static void (*EVP_MD_CTX_free)(EVP_MD_CTX *);
static const void *(*EVP_get_digestbyname)(const char *);
static const void *(*EVP_get_cipherbyname)(const char *);
static int (*EVP_DigestInit_ex)(EVP_MD_CTX *, const void *, void *);
static int (*EVP_DigestUpdate)(EVP_MD_CTX *, const void *, size_t);
static int (*EVP_DigestFinal_ex)(EVP_MD_CTX *, unsigned char *, unsigned *);
static EVP_CIPHER_CTX *(*EVP_CIPHER_CTX_new)(void);
static void (*EVP_CIPHER_CTX_free)(EVP_CIPHER_CTX *);
static int (*EVP_CipherInit_ex)(EVP_CIPHER_CTX *, const void *, void *, const unsigned char *,
				const unsigned char *, int);
static int (*EVP_CipherUpdate)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);
static int (*EVP_CipherFinal_ex)(EVP_CIPHER_CTX *, unsigned char *, int *);
typedef struct bignum BIGNUM;
typedef struct bn_ctx BN_CTX;
static BN_CTX *(*BN_CTX_new)(void);
static void (*BN_CTX_free)(BN_CTX *);
static BIGNUM *(*BN_new)(void);
static void (*BN_free)(BIGNUM *);
static int (*BN_hex2bn)(BIGNUM **, const char *);
static int (*BN_mod_exp)(BIGNUM *, const BIGNUM *, const BIGNUM *, const BIGNUM *, BN_CTX *);
static int (*BN_cmp)(const BIGNUM *, const BIGNUM *);

static bool start_crypto(void)
{
	static const char *const names[] = { "libcrypto.so.3", "libcrypto.so.1.1", NULL };
	void *h = load(names);

	return h && FIND(h, EVP_MD_CTX_new) && FIND(h, EVP_MD_CTX_free) && FIND(h, EVP_get_digestbyname) &&
	       FIND(h, EVP_get_cipherbyname) && FIND(h, EVP_DigestInit_ex) && FIND(h, EVP_DigestUpdate) &&
	       FIND(h, EVP_DigestFinal_ex) && FIND(h, EVP_CIPHER_CTX_new) && FIND(h, EVP_CIPHER_CTX_free) &&
	       FIND(h, EVP_CipherInit_ex) && FIND(h, EVP_CipherUpdate) && FIND(h, EVP_CipherFinal_ex) &&
	       FIND(h, BN_CTX_new) && FIND(h, BN_CTX_free) && FIND(h, BN_new) && FIND(h, BN_free) &&
	       FIND(h, BN_hex2bn) && FIND(h, BN_mod_exp) && FIND(h, BN_cmp);
}

static const struct {
	const char *name, *hex; /* of "abc" */
} digests[] = {
	{ "MD5", "900150983cd24fb0d6963f7d28e17f72" },
	{ "SHA1", "a9993e364706816aba3e25717850c26c9cd0d89d" },
	{ "SHA256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "SHA512", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebb"
		    "d454d4423643ce80e2a9ac94fa54ca49f" },
	{ "SHA3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532" },
};

static bool check_digest(const char *name, const char *want)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	unsigned char md[64];
	char hex[129];
	unsigned n = 0, i;
	bool good;

	good = c && EVP_DigestInit_ex(c, EVP_get_digestbyname(name), NULL) && EVP_DigestUpdate(c, "abc", 3) &&
	       EVP_DigestFinal_ex(c, md, &n);
	for (i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", md[i]);
	EVP_MD_CTX_free(c);
	return good && !strcmp(hex, want);
}

static bool check_cipher(const char *name)
{
	static const unsigned char key[32] = "0123456789abcdef0123456789abcde", iv[16] = "fedcba987654321";
	unsigned char in[1000], out[1100], back[1100];
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0, m = 0, k = 0, l = 0;
	bool good;
	size_t i;

	for (i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)(i * 31);
	good = c && EVP_CipherInit_ex(c, EVP_get_cipherbyname(name), NULL, key, iv, 1) &&
	       EVP_CipherUpdate(c, out, &n, in, sizeof(in)) && EVP_CipherFinal_ex(c, out + n, &m) &&
	       EVP_CipherInit_ex(c, EVP_get_cipherbyname(name), NULL, key, iv, 0) &&
	       EVP_CipherUpdate(c, back, &k, out, n + m) && EVP_CipherFinal_ex(c, back + k, &l);
	EVP_CIPHER_CTX_free(c);
	return good && k + l == (int)sizeof(in) && !memcmp(in, back, sizeof(in)) && memcmp(in, out, sizeof(in));
}

/* Fermat: a^p = a modulo a prime p, here 2^255 - 19. */
static bool check_bn(void)
{
	BIGNUM *a = NULL, *p = NULL, *r = BN_new();
	BN_CTX *c = BN_CTX_new();
	bool good;

	good = BN_hex2bn(&a, "123456789ABCDEF0FEDCBA987654321") &&
	       BN_hex2bn(&p, "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFED") &&
	       BN_mod_exp(r, a, p, p, c) && !BN_cmp(r, a);
	BN_free(a);
	BN_free(p);
	BN_free(r);
	BN_CTX_free(c);
	return good;
}

static bool run_crypto(void)
{
	bool good = true;
	size_t i;

	for (i = 0; i < sizeof(digests) / sizeof(digests[0]); i++)
		good &= check_digest(digests[i].name, digests[i].hex);
	return good && check_cipher("AES-128-CBC") && check_cipher("AES-256-CTR") && check_cipher("CAMELLIA-128-CBC") &&
	       check_bn();
}

const struct workload workload_crypto = { "crypto", "libcrypto", 2, 2, start_crypto, run_crypto };

/* ---- libsqlite3: sums that can be told beforehand -------------------------------------------------- */

typedef struct sqlite3 sqlite3;
static int (*sqlite3_open)(const char *, sqlite3 **);
static int (*sqlite3_close)(sqlite3 *);
static int (*sqlite3_exec)(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);

static bool start_sqlite(void)
{
	static const char *const names[] = { "libsqlite3.so.0", NULL };
	void *h = load(names);

	return h && FIND(h, sqlite3_open) && FIND(h, sqlite3_close) && FIND(h, sqlite3_exec);
}

static int keep(void *arg, int n, char **values, char **names)
{
	(void)names;
	snprintf(arg, 64, "%s", n && values[0] ? values[0] : "");
	return 0;
}

static bool run_sqlite(void)
{
	static const struct {
		const char *sql, *want;
	} steps[] = {
		{ "create table t (id integer primary key, name text, x real); create index i on t (name);"
		  "with recursive n(k) as (values(1) union all select k + 1 from n where k < 500)"
		  "insert into t select k, 'name' || (k % 10), k * 0.5 from n; select count(*) from t", "500" },
		{ "select sum(id) from t", "125250" },
		{ "select sum(x) from t where name = 'name3'", "6200.0" }, /* (3 + 13 + ... + 493) / 2 */
		{ "select group_concat(name, '') from (select name, count(*) c from t group by name having c = 50 limit 3)",
		  "name0name1name2" },
		{ "begin; update t set x = x + 1; delete from t where id % 2; rollback; select sum(x) from t", "62625.0" },
		{ "select count(*) from t a join t b on a.id = b.id + 1 where a.name < b.name", "50" },
		{ "select printf('%.3f|%s|%d', 2.5, upper('abc'), length('four'))", "2.500|ABC|4" },
	};
	char got[64];
	bool good = true;
	sqlite3 *db;
	size_t i;

	if (sqlite3_open(":memory:", &db))
		return false;
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]) && good; i++) {
		got[0] = '\0';
		good = !sqlite3_exec(db, steps[i].sql, keep, got, NULL) && !strcmp(got, steps[i].want);
		if (!good)
			printf("# %s: %s instead of %s\n", steps[i].sql, got, steps[i].want);
	}
	return !sqlite3_close(db) && good;
}

const struct workload workload_sqlite = { "sqlite", "libsqlite3", 2, 2, start_sqlite, run_sqlite };

/* ---- libpython: its own modules, whose results are known ------------------------------------------- */

static void (*Py_InitializeEx)(int);
static int (*PyRun_SimpleString)(const char *);
static int (*PyGILState_Ensure)(void);
static void (*PyGILState_Release)(int);
static void *(*PyEval_SaveThread)(void);

static bool start_python(void)
{
	static const char *const names[] = { "libpython3.13.so.1.0", "libpython3.12.so.1.0", "libpython3.11.so.1.0",
					     "libpython3.10.so.1.0", "libpython3.9.so.1.0", NULL };
	void *h = load(names);

	if (!h || !FIND(h, Py_InitializeEx) || !FIND(h, PyRun_SimpleString) || !FIND(h, PyGILState_Ensure) ||
	    !FIND(h, PyGILState_Release) || !FIND(h, PyEval_SaveThread))
		return false;
	Py_InitializeEx(0);
	PyEval_SaveThread();
	return true;
}

static const char script[] =
	"import json, re, hashlib, struct, decimal, math, collections, functools, itertools, zlib\n"
	"d = {'k%d' % i: [i, i / 4, None, True, 'text \\u20ac %d' % i] for i in range(50)}\n"
	"assert json.loads(json.dumps(d)) == d\n"
	"assert json.dumps({'a': [1, 2.5, None]}, sort_keys=True) == '{\"a\": [1, 2.5, null]}'\n"
	"assert re.sub(r'(\\w+)@(\\w+)', r'\\2 at \\1', 'x user@host y') == 'x host at user y'\n"
	"assert re.findall(r'(?i)a+b?', 'aab AB a') == ['aab', 'AB', 'a']\n"
	"assert hashlib.sha256(b'abc').hexdigest().startswith('ba7816bf8f01cfea')\n"
	"assert hashlib.blake2b(b'abc').hexdigest().startswith('ba80a53f981c4d0d')\n"
	"assert struct.unpack('<IdH', struct.pack('<IdH', 7, 2.5, 9)) == (7, 2.5, 9)\n"
	"assert str(decimal.Decimal(1) / decimal.Decimal(7))[:12] == '0.1428571428'\n"
	"assert pow(3, 2 ** 61 - 2, 2 ** 61 - 1) == 1 and math.factorial(30) % 1000007 == "
	"functools.reduce(lambda a, b: a * b % 1000007, range(1, 31))\n"
	"assert sorted(range(200), key=lambda i: (i * 37) % 211)[:3] == [0, 154, 97]\n"
	"assert zlib.decompress(zlib.compress(b'abc' * 1000)) == b'abc' * 1000\n"
	"class E(Exception): pass\n"
	"def gen():\n"
	"    try:\n"
	"        yield 1\n"
	"        raise E('x')\n"
	"    finally:\n"
	"        seen.append(2)\n"
	"seen = []\n"
	"try:\n"
	"    for v in gen(): seen.append(v)\n"
	"except E as e: seen.append(str(e))\n"
	"assert seen == [1, 2, 'x']\n"
	"assert list(itertools.islice(collections.Counter('abracadabra').most_common(), 1)) == [('a', 5)]\n"
	"assert eval(compile('sum(i * i for i in range(100))', 's', 'eval')) == 328350\n";

static bool run_python(void)
{
	int state = PyGILState_Ensure(), err = PyRun_SimpleString(script);

	PyGILState_Release(state);
	return !err;
}

const struct workload workload_python = { "python", "libpython3", 1, 2, start_python, run_python };

/* Its own tests, where they are installed. */
static const char own_tests[] =
	"import unittest, io, test.support\n"
	"test.support.use_resources = []\n" /* nothing from the network */
	"names = ['test.test_' + n for n in ('re', 'struct')]\n"
	"out = io.StringIO()\n"
	"result = unittest.TextTestRunner(stream=out).run(unittest.defaultTestLoader.loadTestsFromNames(names))\n"
	"assert result.testsRun > 150 and result.wasSuccessful(), out.getvalue()\n";

static bool start_python_own(void)
{
	int state, err;

	if (!start_python())
		return false;
	state = PyGILState_Ensure();
	err = PyRun_SimpleString("import sys, io\nsaved, sys.stderr = sys.stderr, io.StringIO()\n"
				 "try:\n    import test.test_re, test.test_struct\n"
				 "finally: sys.stderr = saved\n");
	PyGILState_Release(state);
	return !err;
}

static bool run_python_own(void)
{
	int state = PyGILState_Ensure(), err = PyRun_SimpleString(own_tests);

	PyGILState_Release(state);
	return !err;
}

const struct workload workload_python_own = { "python-own", "libpython3", 1, 1, start_python_own, run_python_own };
