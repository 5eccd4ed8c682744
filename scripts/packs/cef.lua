-- Sends ActionTrail records as CEF, for ArcSight, Microsoft Sentinel and other readers of CEF. Other logs become CEF as well,
-- with all their fields in `msg`.

local VENDOR, PRODUCT, VERSION = "Alibaba Cloud", "ActionTrail", "1"

local TOPICS = { actiontrail_audit_event = true, actiontrail_event = true }

-- From 0 to 10.
local function severity_of(name, failed)
  if failed then return name:find("^ConsoleSign") and 7 or 5 end
  if re.find(name, "^(Delete|Remove|Release|Revoke)") then return 6 end
  return 3
end

local function value(v)
  if v ~= json.null and v ~= "" then return v end
end

local function member(object, name)
  if type(object) == "table" then return value(object[name]) end
end

-- The source of a call has a different key for an IPv4 address, an IPv6 address and the name of a service.
local function add_source(extension, source)
  local address, version = ip.parse(source)
  if version == 4 then
    extension[#extension + 1] = { "src", address }
  elseif version == 6 then
    extension[#extension + 1] = { "c6a2", address }
    extension[#extension + 1] = { "c6a2Label", "Source IPv6 Address" }
  else
    extension[#extension + 1] = { "shost", source }
  end
end

local function add_custom(extension, field, label, text)
  if text then
    extension[#extension + 1] = { field, text }
    extension[#extension + 1] = { field .. "Label", label }
  end
end

local function audit_record(e, seconds, nanoseconds)
  local user = e.userIdentity
  local name = value(e.eventName) or "unknown"
  local failed = value(e.errorCode)
  local extension = {
    { "rt", seconds * 1000 + nanoseconds // 1000000 },
    { "act", name },
    { "outcome", failed and "failure" or "success" },
    { "reason", failed },
    { "msg", value(e.errorMessage) },
    { "externalId", value(e.eventId) },
    { "suser", member(user, "userName") },
    { "suid", member(user, "principalId") },
    { "dhost", value(e.eventSource) },
    { "destinationServiceName", value(e.serviceName) },
    { "requestClientApplication", value(e.userAgent) },
  }
  if value(e.sourceIpAddress) then add_source(extension, e.sourceIpAddress) end
  add_custom(extension, "cs1", "userType", member(user, "type"))
  add_custom(extension, "cs2", "accountId", value(e.recipientAccountId) or member(user, "accountId"))
  add_custom(extension, "cs3", "region", value(e.acsRegion))
  add_custom(extension, "cs4", "requestId", value(e.requestId))
  add_custom(extension, "cs5", "resourceType", value(e.resourceType))
  add_custom(extension, "cs6", "resourceName", value(e.resourceName))
  return cef.encode{
    vendor = VENDOR, product = PRODUCT, version = VERSION,
    id = name, name = name, severity = severity_of(name, failed), extension = extension,
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
      message = audit_record(e, seconds, nanoseconds),
    }
  end

  local topic = log.__topic__ ~= "" and log.__topic__ or "log"
  log.__time__ = nil
  return {
    time = seconds,
    message = cef.encode{
      vendor = VENDOR, product = "SLS", version = VERSION,
      id = topic, name = topic, severity = "Unknown",
      extension = { { "rt", seconds * 1000 }, { "msg", logfmt.encode(log) } },
    },
  }
end
