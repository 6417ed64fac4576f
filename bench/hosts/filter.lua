-- SPDX-License-Identifier: MIT
-- The filter of examples/http as LuaJIT likes it: the FFI, counters in an array, clients in a table.
local ffi, bit = require("ffi"), require("bit")
ffi.cdef [[
struct http_request { char method[8]; char path[120]; unsigned int client; };
struct http_reply { int status; unsigned int page, version; };
const char *MHD_lookup_connection_value(void *connection, int kind, const char *key);
struct timespec { long s, ns; };
int clock_gettime(int clock, struct timespec *t);
size_t strlen(const char *s);
int strncmp(const char *a, const char *b, size_t n);
]]
local C, HEADER = ffi.C, 1
local call = ffi.cast("void **", call) -- request, reply, connection
local answers, clients, time = ffi.new("uint64_t[600]"), {}, ffi.new("struct timespec[1]")
local request_t, reply_t = ffi.typeof("const struct http_request *"), ffi.typeof("struct http_reply *")
local most = 1000000000

local function too_many(client)
	C.clock_gettime(1, time)
	local w, second = clients[client], tonumber(time[0].s)
	if not w then
		clients[client] = { second = second, requests = 1 }
		return false
	end
	if w.second ~= second then
		w.second, w.requests = second, 0
	end
	w.requests = w.requests + 1
	return w.requests > most
end

local function is_robot(connection)
	local agent = C.MHD_lookup_connection_value(connection, HEADER, "User-Agent")
	if agent == nil then
		return false
	end
	local n = math.min(tonumber(C.strlen(agent)), 64)
	for i = 0, n - 3 do
		if bit.bor(agent[i], 32) == 98 and bit.bor(agent[i + 1], 32) == 111 and bit.bor(agent[i + 2], 32) == 116 then
			return true
		end
	end
	return false
end

local function has_token(connection)
	local given = C.MHD_lookup_connection_value(connection, HEADER, "Authorization")
	return given ~= nil and C.strncmp(given, "Bearer sesame", 32) == 0
end

local function decide(req, reply, connection)
	if too_many(req.client) then
		return 429
	end
	if C.strncmp(req.method, "GET", 8) ~= 0 then
		return 405
	end
	if is_robot(connection) then
		return 403
	end
	if req.path[0] == 47 and req.path[1] == 0 then
		reply.page = 0
		return 200
	end
	if C.strncmp(req.path, "/api/", 5) == 0 then
		reply.page = 1
		return has_token(connection) and 200 or 401
	end
	return 404
end

function filter()
	local reply = ffi.cast(reply_t, call[1])
	local status = decide(ffi.cast(request_t, call[0]), reply, call[2])
	answers[status] = answers[status] + 1
	reply.status, reply.version = status, 1
end
