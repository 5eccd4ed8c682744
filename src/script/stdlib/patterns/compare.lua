-- Runs one case on both engines and returns "same", "error" (both raise the same error), "steps" (ours reached its limit),
-- or the difference.
local function pack(...) return { n = select("#", ...), ... } end

local function show(t)
  local shown = {}
  for i = 1, t.n do shown[i] = type(t[i]) == "string" and ("%q"):format(t[i]) or tostring(t[i]) end
  return table.concat(shown, ", ")
end

-- Of four matches, one is kept, one is replaced by a number, and two are replaced by their joined captures.
local function replacer()
  local calls = 0
  return function(...)
    calls = calls + 1
    if calls % 4 == 0 then return nil elseif calls % 4 == 1 then return calls + 0.5 end
    local all = pack(...)
    for i = 1, all.n do all[i] = tostring(all[i]) end
    return table.concat(all, "|")
  end
end

local operations = {
  find = function(lib, s, p, _, init) return lib.find(s, p, init) end,
  plain = function(lib, s, p, _, init) return lib.find(s, p, init, true) end,
  match = function(lib, s, p, _, init) return lib.match(s, p, init) end,
  gmatch = function(lib, s, p, _, init)
    local all = { n = 0 }
    local function add(...)
      for i = 1, select("#", ...) do all[all.n + i] = (select(i, ...)) end
      all.n = all.n + select("#", ...)
    end
    local following = lib.gmatch(s, p, init)
    repeat
      local before = all.n
      add(following())
    until all.n == before
    return table.unpack(all, 1, all.n)
  end,
  gsub = function(lib, s, p, r, n) return lib.gsub(s, p, r, n) end,
  gsub_function = function(lib, s, p, _, n) return lib.gsub(s, p, replacer(), n) end,
  gsub_table = function(lib, s, p, _, n)
    return lib.gsub(s, p, { a = "A", b = 1, ["("] = false, aa = {}, [1] = "one", [2] = 2.5 }, n)
  end,
}

return function(name, s, p, r, n)
  local operation = operations[name]
  local ours = pack(pcall(operation, string, s, p, r, n))
  if not ours[1] and ours[2]:find("too complex for this text", 1, true) then return "steps" end
  local theirs = pack(pcall(operation, engine, s, p, r, n))
  local same = ours.n == theirs.n
  for i = 1, ours.n do
    same = same and ours[i] == theirs[i] and math.type(ours[i]) == math.type(theirs[i])
  end
  if not same then
    return ("%s(%q, %q, %q, %s): ours %s, engine %s"):format(name, s, p, r, n, show(ours), show(theirs))
  end
  return ours[1] and "same" or "error"
end
