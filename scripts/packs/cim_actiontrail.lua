-- Sends ActionTrail records to Splunk: each record as it is, with the fields of the Common Information Model added, so
-- that the data models Change and Authentication find it. Other logs are sent as they are.
--
-- In Splunk, tag the sourcetype: events with command=ConsoleSignin* as `authentication`, the others as `change`.

local TOPICS = { actiontrail_audit_event = true, actiontrail_event = true }

-- The action of a call, by the first word of its name. The first match counts.
local ACTIONS = {
  { "^(Create|Run|Allocate|Add|Import|Copy|Register)", "created" },
  { "^(Delete|Remove|Release|Unregister|Revoke|Detach|Unassociate)", "deleted" },
  { "^(Describe|List|Get|Query|Check|Search|Lookup)", "read" },
}

-- nil if the value is missing or empty, or is JSON's null.
local function value(v)
  if v ~= json.null and v ~= "" then return v end
end

-- A member of a value that may be missing or not an object.
local function member(object, name)
  if type(object) == "table" then return value(object[name]) end
end

local function action_of(name, failed)
  if name:find("^ConsoleSign") then return failed and "failure" or "success" end
  for _, rule in ipairs(ACTIONS) do
    if re.find(name, rule[1]) then return rule[2] end
  end
  return "modified"
end

local function add_cim(e)
  local user = e.userIdentity
  local name = value(e.eventName) or "unknown"
  local failed = value(e.errorCode) ~= nil
  local source = value(e.sourceIpAddress)

  e.vendor_product = "Alibaba Cloud ActionTrail"
  e.command = name
  e.action = action_of(name, failed)
  e.status = failed and "failure" or "success"
  e.result_id = value(e.errorCode)
  e.result = value(e.errorMessage)
  e.app = value(e.serviceName)
  e.dest = value(e.eventSource)
  e.src = source
  e.src_ip = source and ip.parse(source)       -- some calls come from a service, which has a name instead of an address
  e.user = member(user, "userName") or member(user, "principalId")
  e.user_id = member(user, "principalId")
  e.user_type = member(user, "type")
  e.vendor_account = value(e.recipientAccountId) or member(user, "accountId")
  e.vendor_region = value(e.acsRegion)
  e.user_agent = value(e.userAgent)
  e.object_category = value(e.resourceType)
  e.object = value(e.resourceName)
  e.mfa = member(e.additionalEventData, "isMFAChecked")
end

function process(log)
  local moment = log.__time__
  local e = TOPICS[log.__topic__] and json.decode(log.event or "")
  if type(e) ~= "table" then
    log.__time__ = nil
    return { time = moment, event = log }
  end

  local seconds, nanoseconds
  if type(e.eventTime) == "string" then seconds, nanoseconds = time.parse(e.eventTime) end
  add_cim(e)
  return {
    time = seconds or moment,
    time_ns = seconds and nanoseconds ~= 0 and nanoseconds or nil,
    sourcetype = "aliyun:actiontrail",
    event = e,
  }
end
