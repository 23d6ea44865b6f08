-- The health of a ModelDeployment, as ArgoCD shows it. It reads the conditions alone, of which each
-- says for which generation it speaks; phase is for people. Run by tests/gitops in a real Lua.
local status = obj.status
local generation = obj.metadata.generation

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "being deleted" }
end
if status == nil or status.conditions == nil or status.observedGeneration ~= generation then
  return { status = "Progressing", message = "the operator has not looked at this generation yet" }
end

local found = {}
for _, condition in ipairs(status.conditions) do
  if condition.observedGeneration == nil or condition.observedGeneration == generation then
    found[condition.type] = condition
  end
end

local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end

local function because(kind, reason)
  return found[kind] ~= nil and found[kind].reason == reason
end

local function answer(health, kind)
  local message = status.message
  if found[kind] ~= nil and found[kind].message ~= nil then
    message = found[kind].message
  end
  return { status = health, message = message or "" }
end

-- Somebody must act: a failed rollout, one that was aborted or rolled back, a spec that is not valid.
if holds("Stalled") then
  return answer("Degraded", "Stalled")
end
if holds("Ready") then
  return answer("Healthy", "Ready")
end
-- What serves has no pod left. While a first revision starts, and where none is asked for, that is
-- no fault.
if because("Available", "NoReadyPods") then
  return answer("Degraded", "Available")
end
-- The rollout waits for people: a promotion, or the end of a pause.
if because("Ready", "AwaitingPromotion") or because("Ready", "Paused") then
  return answer("Suspended", "Ready")
end
return answer("Progressing", "Ready")
