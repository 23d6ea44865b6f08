-- Which actions ArgoCD offers for a ModelDeployment: those that the operator would not refuse now.
-- Run by tests/gitops in a real Lua beside the operator's own answer.
local status = obj.status or {}
local spec = obj.spec
local strategy = spec.strategy or {}
local generation = obj.metadata.generation

local stable = status.stable ~= nil and status.stable.revision or nil
local canary = status.canary ~= nil and status.canary.revision or nil
local failed = status.failedRevision
local known = status.observedGeneration == generation

-- A spec that is not valid says nothing of a model that could be looked up.
local invalid = false
for _, condition in ipairs(status.conditions or {}) do
  invalid = invalid or condition.reason == "InvalidSpec"
end

local paused = spec.paused == true
if status.heldPause ~= nil and status.heldPause.generation == generation then
  paused = status.heldPause.paused
end

-- A revision is being introduced, and has not failed yet.
local under_way = canary ~= nil and canary ~= stable and canary ~= failed

local function waits_for_promotion()
  local index = status.currentStepIndex
  if not under_way or index == nil or status.rollbackTo ~= nil then
    return false
  end
  if (status.canary.readyReplicas or 0) == 0 then
    return false
  end
  if strategy.type == "Canary" then
    local steps = strategy.canary ~= nil and strategy.canary.steps or {}
    return steps[index + 1] ~= nil and steps[index + 1].pause ~= nil
  end
  -- The preview of BlueGreen and the comparison of Shadow.
  return (strategy.type == "BlueGreen" or strategy.type == "Shadow") and index == 1
end

-- Where a rollback leads: to what serves, while another revision is being introduced; else to what
-- served before the last rollout.
local function earlier()
  if stable == nil or (failed ~= nil and failed ~= stable) then
    return nil
  end
  if under_way then
    return stable
  end
  local last = status.rollouts ~= nil and status.rollouts[1] or {}
  if last.outcome == "Complete" and last.revision == stable then
    return last.fromRevision
  end
  return nil
end

return {
  ["promote"] = { ["disabled"] = not known or paused or not waits_for_promotion() },
  ["abort"] = { ["disabled"] = not known or not under_way or stable == nil },
  ["retry"] = { ["disabled"] = not known or failed == nil },
  ["rollback"] = { ["disabled"] = not known or earlier() == nil },
  ["resolve"] = { ["disabled"] = not known or invalid },
  ["pause"] = { ["disabled"] = not known or paused },
  ["resume"] = { ["disabled"] = not known or not paused },
}
