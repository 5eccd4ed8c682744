-- Removes personal data and secrets from logs: by the name of a field, and in any text where something looks like an e-mail
-- address, a card number, a Chinese identity card, a mobile number or an access key.
--
-- With `pseudonym_key` under [script.vars], the fields in PSEUDONYMS become a short code, the same for the same person, so
-- that they can still be counted and joined. Without a key they are masked.

-- Fields to mask, at any depth. Write names in lower case here: case is ignored.
local SECRETS = { password = true, passwd = true, token = true, secret = true, accesskeysecret = true, cookie = true }

-- Fields that name a person.
local PSEUDONYMS = { username = true, user = true, email = true, phone = true }

-- The check digit of a card number.
local function luhn(digits)
  local sum, double = 0, false
  for position = #digits, 1, -1 do
    local digit = digits:byte(position) - 48
    if double then
      digit = digit * 2
      if digit > 9 then digit = digit - 9 end
    end
    sum, double = sum + digit, not double
  end
  return sum % 10 == 0
end

-- Keeps the last four digits of a card number. Leaves any other number unchanged.
local function card(text)
  local digits = text:gsub("[ -]", "")
  if luhn(digits) then return "[card " .. digits:sub(-4) .. "]" end
end

-- Patterns of personal data in texts, in the order in which they are applied.
local MASKS = {
  { [[(?i)\b(password|passwd|token|secret)("?\s*[=:]\s*"?)[^\s"&,;]+]], "%1%2[masked]" },
  { [[[\w.+-]+@[\w-]+(?:\.[\w-]+)+]], "[email]" },
  { [[\bLTAI[0-9A-Za-z]{12,26}\b]], "[access key]" },
  { [[\b[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]\b]], "[id card]" },
  { [[(?:\+86[ -]?|\b)1[3-9]\d{9}\b]], "[phone]" },
  { [[\b[2-6]\d{3}(?:[ -]?\d){9,15}\b]], card },
}

local function masked_text(text)
  for _, mask in ipairs(MASKS) do
    text = re.gsub(text, mask[1], mask[2])
  end
  return text
end

local KEY = settings.pseudonym_key

local function pseudonym(text)
  if KEY then return "p-" .. hash.hmac_sha256(KEY, text):sub(1, 12) end
  return "[masked]"
end

-- The value that replaces `value`: `value` itself if there is nothing to hide.
local function masked(name, value)
  local kind = type(value)
  local plain_name = tostring(name):lower()
  if SECRETS[plain_name] then return "[masked]" end
  if kind == "table" then
    for key, inside in pairs(value) do
      local new = masked(key, inside)
      if new ~= inside then value[key] = new end
    end
    return value
  end
  if kind ~= "string" and kind ~= "number" then return value end
  if PSEUDONYMS[plain_name] then return pseudonym(tostring(value)) end
  local text = masked_text(tostring(value))
  if text ~= tostring(value) then return text end
  return value
end

function process(log)
  local moment = log.__time__
  log.__time__ = nil
  for name, text in pairs(log) do
    -- A field that contains JSON is masked inside, and sent as an object.
    local first = text:sub(1, 1)
    local value = (first == "{" or first == "[") and json.decode(text) or text
    log[name] = masked(name, value)
  end
  return { time = moment, event = log }
end
