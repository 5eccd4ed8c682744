---@meta
-- Types of everything that a forwarder script can use, for editors with the Lua language server (LuaLS).
-- Written by `forwarder types > forwarder.d.lua`; put the file beside your scripts.

---A log: an ordered table of strings. `log.name` reads a field, `log.name = value` sets it, `log.name = nil` removes it.
---`pairs(log)` iterates in order; tags are `log["__tag__:name"]`.
---@class Log
---@field __time__ string unix seconds
---@field __time_ns_part__? string nanoseconds within the second
---@field __topic__ string
---@field __source__ string
---@field [string] any a field of the log: a string, unless the script sets another value

---The origin of a log: the second parameter of `process`.
---@class Meta
---@field source string
---@field project string
---@field logstore string
---@field shard integer
---@field cursor string cursor of the log group
---@field index integer number of the log in its group
---@field id string the same each time the log is pulled; send it to identify repeats
---@field version string of the script

---The parameter of `init`.
---@class InitMeta
---@field source string
---@field project string
---@field logstore string
---@field shard integer
---@field version string of the script

---An event that `process` returns. Missing keys come from the settings.
---@class Event
---@field time? integer|number|string unix seconds, such as log.__time__
---@field timestamp? integer|number|string the same as time
---@field time_ns? integer|string nanoseconds within the second
---@field host? string
---@field hostname? string the same as host
---@field source? string Splunk
---@field sourcetype? string Splunk
---@field index? string Splunk
---@field fields? table<string, any> Splunk: indexed fields
---@field facility? integer|string syslog: 0 to 23, or a name
---@field severity? integer|string syslog: 0 to 7, or a name
---@field program? string syslog
---@field procid? string|integer syslog
---@field msgid? string syslog
---@field structured_data? table<string, table<string, any>> syslog
---@field to? string|string[] names of the destinations to send it to; default: all
---@field event? Log|table|string the data to send
---@field message? Log|table|string the text for syslog, if it differs from `event`

---The result of `drop`.
---@class Dropped

---Called once for each log. nil drops the log, drop "reason" drops it with a reason, a list sends several events.
---@alias Process fun(log: Log, meta: Meta): nil|string|Log|Event|Dropped|(string|Log|Event)[]

---`[script.vars]` of the settings file; read only.
---@type table<string, any>
settings = {}

---State that the script keeps from log to log, and with `keep_state = true` from version to version.
---@type table<any, any>
state = {}

---true hands `state` over to the next version of the script.
---@type boolean?
keep_state = nil

---`return drop "reason"` drops the log; drops are counted by reason.
---@param reason string
---@return Dropped
function drop(reason) end

---Writes key=value pairs, the separator before each. Nothing is quoted.
---@param fields table
---@param separator string
---@return string
function kv(fields, separator) end

---@class base64lib
base64 = {}
---@param s string
---@return string
function base64.encode(s) end
---@param s string
---@return string? decoded nil if the text is not base64
---@return string? why
function base64.decode(s) end

---@class ceflib
cef = {}
---@param parts { vendor: string, product: string, version: string, id: string, name: string, severity: integer|string, extension?: table }
---@return string
function cef.encode(parts) end

---@class hashlib
hash = {}
---@param s string
---@return string hex
function hash.md5(s) end
---@param s string
---@return string hex
function hash.sha1(s) end
---@param s string
---@return string hex
function hash.sha256(s) end
---@param key string
---@param s string
---@return string hex
function hash.hmac_sha1(key, s) end
---@param key string
---@param s string
---@return string hex
function hash.hmac_sha256(key, s) end

---@class hexlib
hex = {}
---@param s string
---@return string
function hex.encode(s) end
---@param s string
---@return string? decoded
---@return string? why
function hex.decode(s) end

---@class iplib
ip = {}
---@param s string
---@return string? address in its canonical form
---@return integer|string version 4 or 6, or the reason for nil
function ip.parse(s) end
---@param address string
---@param network string|string[]
---@return boolean? is_in nil if the address is invalid
---@return string? why
function ip.in_cidr(address, network) end
---@param address string
---@return boolean?
---@return string? why
function ip.is_private(address) end

---@class jsonlib
---@field null userdata JSON's null: not nil, and truthy; json.get() returns nil for it
json = {}
---@param s string
---@param levels? integer maximum levels of nesting: 64 by default, at most 1000
---@return any value nil if the text is not JSON
---@return string? why
function json.decode(s, levels) end
---@param v any
---@return string
function json.encode(v) end
---The value at a path in a log or decoded JSON; nil if a step of the path is missing, or for null.
---@param value any
---@param ... string|integer
---@return any
function json.get(value, ...) end
---Marks a table as a list, which is necessary for an empty one.
---@generic T: table
---@param t T
---@return T
function json.array(t) end

---@class leeflib
leef = {}
---@param parts { vendor: string, product: string, version: string, id: string, leef?: string, delimiter?: string, attributes?: table }
---@return string
function leef.encode(parts) end

---@class logfmtlib
logfmt = {}
---@param fields table
---@return string
function logfmt.encode(fields) end

---Writes lines to the program's own log.
---@class loggerlib
logger = {}
function logger.debug(...) end
function logger.info(...) end
function logger.warn(...) end
function logger.error(...) end

---@class lookuplib
lookup = {}
---@param file string beside the script, in quotes
---@param key_column string
---@param value_column? string
---@return table<string, any>
function lookup.csv(file, key_column, value_column) end
---@param file string beside the script, in quotes
---@return table<string, any>
function lookup.json(file) end

---Regular expressions that no text can stall.
---@class relib
re = {}
---@param s string
---@param pattern string
---@param init? integer
---@return integer? first
---@return integer? last
---@return string ...
function re.find(s, pattern, init) end
---@param s string
---@param pattern string
---@param init? integer
---@return string? ...
function re.match(s, pattern, init) end
---@param s string
---@param pattern string
---@param init? integer
---@return table<integer|string, string>?
function re.captures(s, pattern, init) end
---@param s string
---@param pattern string
---@return fun(): string ...
function re.gmatch(s, pattern) end
---@param s string
---@param pattern string
---@param replacement string|table|fun(...: string): string?
---@param n? integer
---@return string
---@return integer count
function re.gsub(s, pattern, replacement, n) end
---@param s string
---@return string pattern that matches exactly this text
function re.escape(s) end

---@class timelib
time = {}
---@return number seconds since 1970
function time.now() end
---@param text string
---@param format? string default: RFC 3339
---@param zone? string
---@return integer? seconds
---@return integer|string nanoseconds, or the reason for nil
function time.parse(text, format, zone) end
---@param seconds integer|number|string
---@param format? string
---@param zone? string
---@param nanoseconds? integer
---@return string
function time.format(seconds, format, zone, nanoseconds) end

---@class urllib
url = {}
---@param s string
---@return string
function url.encode(s) end
---@param s string
---@return string
function url.decode(s) end
---@param s string
---@return { scheme?: string, user?: string, host?: string, port?: string, path?: string, query?: string, fragment?: string }
function url.parse(s) end
---@param s string
---@return table<string, string>
function url.query(s) end

---A plain table with the same keys and values.
---@param t table
---@return table
function table.copy(t) end

-- Parts of Lua that scripts do not have.
---@deprecated scripts reach no files, processes or the network
os = nil
---@deprecated scripts reach no files, processes or the network
io = nil
---@deprecated
coroutine = nil
---@deprecated
debug = nil
---@deprecated
package = nil
