-- Drops what nobody reads, and sends the rest to the right index: the price of a SIEM depends on its gigabytes.
--
-- The first rule that matches decides. A rule has `when`, a function of the log, and an action: `drop`, `sample = N` (keeps
-- one of N) or the index to send it to.

local INTERNAL = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fd00::/8" }

-- Calls that only read, for logs whose event is JSON text. Searching the text is cheaper than decoding it.
local function reads_only(log)
  return log.event and log.event:find('"eventRW":"Read"', 1, true) and not log.event:find('"errorCode":"', 1, true)
end

local RULES = {
  -- Health checks of the load balancer, once a second.
  { when = function(log) return log.uri == "/healthz" or (log.user_agent or ""):find("^SLBHealthCheck") end, drop = true },
  { when = function(log) return log.level == "DEBUG" end, drop = true },

  -- Audit: all changes, and one of ten calls that only read.
  { when = function(log) return log.__topic__:find("^actiontrail") and reads_only(log) end, sample = 10, index = "audit_read" },
  { when = function(log) return log.__topic__:find("^actiontrail") end, index = "audit", sourcetype = "aliyun:actiontrail" },

  -- Web: errors for the team, requests from outside for security, the rest to a cheap index.
  { when = function(log) return (tonumber(log.status) or 0) >= 500 end, index = "web_errors", sourcetype = "nginx" },
  { when = function(log) return log.client_ip and ip.in_cidr(log.client_ip, INTERNAL) == false end, index = "web", sourcetype = "nginx" },
  { when = function(log) return log.status end, index = "web_internal", sourcetype = "nginx" },
}

-- Decided by the log's id, so that a log that is pulled again gets the same answer.
local function is_sampled(meta, one_of)
  return tonumber(hash.md5(meta.id):sub(1, 8), 16) % one_of == 0
end

function process(log, meta)
  for _, rule in ipairs(RULES) do
    if rule.when(log) then
      if rule.drop then return nil end
      if rule.sample and not is_sampled(meta, rule.sample) then return nil end
      local moment = log.__time__
      log.__time__ = nil
      return { time = moment, index = rule.index, sourcetype = rule.sourcetype, event = log }
    end
  end
  local moment = log.__time__
  log.__time__ = nil
  return { time = moment, event = log }
end
