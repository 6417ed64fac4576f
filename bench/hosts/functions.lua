-- SPDX-License-Identifier: MIT
-- The SQL functions of examples/sqlite as LuaJIT likes them: the FFI, no memory allocated, math.sqrt.
local ffi, bit = require("ffi"), require("bit")
ffi.cdef [[
int sqlite3_value_type(void *value);
int64_t sqlite3_value_int64(void *value);
const uint8_t *sqlite3_value_text(void *value);
int sqlite3_value_bytes(void *value);
void sqlite3_result_int64(void *ctx, int64_t n);
void sqlite3_result_null(void *ctx);
]]
local C, TEXT = ffi.C, 32
local call = ffi.cast("void **", call) -- the context, and the values
local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local a, b, set = ffi.new("uint8_t[?]", TEXT), ffi.new("uint8_t[?]", TEXT), ffi.new("uint32_t[32]")

local function number(argv, n)
	return tonumber(C.sqlite3_value_int64(argv[n]))
end

function distance()
	local ctx, argv = call[0], ffi.cast("void **", call[1])
	local dx, dy = number(argv, 0) - number(argv, 2), number(argv, 1) - number(argv, 3)
	C.sqlite3_result_int64(ctx, math.floor(math.sqrt(dx * dx + dy * dy)))
end

local function word(value, text)
	if C.sqlite3_value_type(value) == 5 then
		return -1
	end
	local s, n = C.sqlite3_value_text(value), math.min(C.sqlite3_value_bytes(value), TEXT)
	for i = 0, n - 1 do
		local c = s[i]
		text[i] = (c >= 65 and c <= 90) and c + 32 or c
	end
	return n
end

local function pair(s, i)
	return bor(lshift(band(s[i], 31), 5), band(s[i + 1], 31))
end

function similarity()
	local ctx, argv = call[0], ffi.cast("void **", call[1])
	local n, m, shared = word(argv[0], a), word(argv[1], b), 0
	if n < 0 or m < 0 then
		return C.sqlite3_result_null(ctx)
	end
	ffi.fill(set, 128)
	for i = 0, n - 2 do
		local p = pair(a, i)
		set[rshift(p, 5)] = bor(set[rshift(p, 5)], lshift(1, band(p, 31)))
	end
	for i = 0, m - 2 do
		local p = pair(b, i)
		shared = shared + band(rshift(set[rshift(p, 5)], band(p, 31)), 1)
	end
	n = math.max(n, m)
	C.sqlite3_result_int64(ctx, n > 1 and math.floor(shared * 100 / (n - 1)) or 0)
end
