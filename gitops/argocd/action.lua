-- Asks the operator for `verb` by its annotation. It holds for what ArgoCD shows, and for nothing
-- that comes after it: a promotion for one step, an abort for one revision, all for one generation.
-- ArgoCD gives its scripts no string library.
local status = obj.status or {}
local stable = status.stable ~= nil and status.stable.revision or nil
local canary = status.canary ~= nil and status.canary.revision or nil

local function member(name, value, quoted)
  if value == nil then
    return ""
  end
  if quoted then
    return ', "' .. name .. '": "' .. value .. '"'
  end
  return ', "' .. name .. '": ' .. tostring(value)
end

local revision = nil
local step = nil
if verb == "promote" then
  revision = canary
  step = status.currentStepIndex
elseif verb == "abort" then
  revision = canary
elseif verb == "retry" then
  revision = status.failedRevision
elseif verb == "rollback" then
  local last = status.rollouts ~= nil and status.rollouts[1] or {}
  if canary ~= nil and canary ~= stable then
    revision = stable
  else
    revision = last.fromRevision
  end
end

local action = '{"id": "argocd-' .. verb .. "-" .. tostring(os.time()) .. '", "verb": "' .. verb .. '"'
  .. member("revision", revision, true)
  .. member("step", step, false)
  .. member("generation", obj.metadata.generation, false)
  .. "}"

if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["cvfactory.dev/action"] = action
return obj
