-- Sends ActionTrail records as LEEF 1.0 for QRadar, which has no parser of its own for them: create a log source type with
-- the DSM editor, or let QRadar map the predefined attributes below. Other logs become LEEF too, all fields as attributes.
--
-- QRadar finds the log source by the host name in the syslog header. To set it, use `log_source` under [script.vars].

local VENDOR, PRODUCT, VERSION = "Alibaba Cloud", "ActionTrail", "1"

local TOPICS = { actiontrail_audit_event = true, actiontrail_event = true }

local LOG_SOURCE = settings.log_source

local function value(v)
  if v ~= json.null and v ~= "" then return v end
end

local function member(object, name)
  if type(object) == "table" then return value(object[name]) end
end

-- From 1 to 10.
local function severity_of(name, failed)
  if failed then return name:find("^ConsoleSign") and 7 or 5 end
  if re.find(name, "^(Delete|Remove|Release|Revoke)") then return 6 end
  return 3
end

-- The time in milliseconds, in the format that devTimeFormat announces.
local DEV_TIME_FORMAT = "yyyy-MM-dd'T'HH:mm:ss.SSSZ"

local function dev_time(seconds, nanoseconds)
  return ("%s.%03d+0000"):format(time.format(seconds, "%Y-%m-%dT%H:%M:%S"), nanoseconds // 1000000)
end

local function audit_record(e, seconds, nanoseconds)
  local user = e.userIdentity
  local name = value(e.eventName) or "unknown"
  local failed = value(e.errorCode)
  local source = value(e.sourceIpAddress)
  return leef.encode{
    leef = "1.0", vendor = VENDOR, product = PRODUCT, version = VERSION, id = name,
    attributes = {
      { "devTime", dev_time(seconds, nanoseconds) },
      { "devTimeFormat", DEV_TIME_FORMAT },
      { "cat", value(e.serviceName) },
      { "sev", severity_of(name, failed) },
      { "src", source and ip.parse(source) },      -- only an IP address: QRadar drops anything else
      { "sourceName", source },
      { "usrName", member(user, "userName") or member(user, "principalId") },
      { "accountName", value(e.recipientAccountId) or member(user, "accountId") },
      { "resource", value(e.resourceName) },
      { "resourceType", value(e.resourceType) },
      { "region", value(e.acsRegion) },
      { "userType", member(user, "type") },
      { "principalId", member(user, "principalId") },
      { "eventSource", value(e.eventSource) },
      { "userAgent", value(e.userAgent) },
      { "outcome", failed and "failure" or "success" },
      { "errorCode", failed },
      { "errorMessage", value(e.errorMessage) },
      { "eventId", value(e.eventId) },
      { "requestId", value(e.requestId) },
    },
  }
end

function process(log)
  local seconds, nanoseconds = math.tointeger(tonumber(log.__time__)), 0
  local e = TOPICS[log.__topic__] and json.decode(log.event or "")
  if type(e) == "table" then
    if type(e.eventTime) == "string" then
      local s, ns = time.parse(e.eventTime)
      if s then seconds, nanoseconds = s, ns end
    end
    return {
      time = seconds,
      time_ns = nanoseconds ~= 0 and nanoseconds or nil,
      host = LOG_SOURCE,
      message = audit_record(e, seconds, nanoseconds),
    }
  end

  local topic = log.__topic__ ~= "" and log.__topic__ or "log"
  log.__time__ = nil
  local message = leef.encode{
    leef = "1.0", vendor = VENDOR, product = "SLS", version = VERSION, id = topic, attributes = log,
  }
  return { time = seconds, host = LOG_SOURCE, message = message }
end
