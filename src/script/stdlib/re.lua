-- Iterates over all matches of a text, so that the time limit can stop it between two of them.
local next_match, replace, concat, sub, type, tostring = ...

-- Moves `at` past the match, and returns the groups.
local function step(at, first, last, ...)
  if not first then return first, last end
  at.from, at.before = last + 1, last
  return ...
end

local function gmatch(text, pattern)
  local bad, why, argument = next_match(text, pattern)
  if bad == false then return bad, why, argument end
  local at = { from = 1 }
  return function()
    return step(at, next_match(text, pattern, at.from, at.before))
  end
end

-- The replacement of the match, or false and the reason.
local function replacement_of(text, new, first, last, ...)
  local value
  if type(new) == "table" then value = new[(...)] else value = new(...) end
  if not value then return sub(text, first, last) end
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then return tostring(value) end
  return false, "invalid replacement value (a " .. kind .. ")"
end

local function gsub(text, pattern, new, most)
  local kind = type(new)
  if kind == "string" or kind == "number" then return replace(text, pattern, new, most) end
  if kind ~= "table" and kind ~= "function" then
    return false, "string, table or function expected, got " .. kind, 3
  end
  if most ~= nil and type(most) ~= "number" then return false, "number expected, got " .. type(most), 4 end
  local bad, why, argument = next_match(text, pattern)
  if bad == false then return bad, why, argument end

  local pieces, count, from, before = {}, 0, 1, nil
  local function take(first, last, ...)
    if not first then return nil end
    local value, problem = replacement_of(text, new, first, last, ...)
    if not value then return false, problem end
    pieces[#pieces + 1] = sub(text, from, first - 1)
    pieces[#pieces + 1] = value
    from, before, count = last + 1, last, count + 1
    return true
  end
  while not most or count < most do
    local more, problem = take(next_match(text, pattern, from, before))
    if more == false then return false, problem end
    if not more then break end
  end
  pieces[#pieces + 1] = sub(text, from)
  return concat(pieces), count
end

return { gmatch = gmatch, gsub = gsub }
