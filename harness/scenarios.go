package harness

import (
	"math"
	"time"
)

// Scenarios returns the catalogue.
func Scenarios() []Scenario {
	calls := Calls{Every: 20 * time.Millisecond, Timeout: 2 * time.Second}
	return []Scenario{
		{
			Name: "baseline", Nodes: 3, Starts: 3, Rest: 2 * time.Second, Calls: calls, Length: 10 * time.Second, Rounds: 2,
			About: "what was asked for at the start: formation, calls, a kill, a freeze, memory, no crash",
			Steps: slicesOf(killed("n3"), frozen("n3")),
			Objectives: objectives(formed, called, calledInside, detectKill, detectFreeze, recoverRestart, recoverThaw,
				memory, calm, sound),
		},
		{
			Name: "formation", Nodes: 3, Starts: 10, Calls: calls, Length: time.Second, Rounds: 1,
			About:      "a cluster is started again and again",
			Objectives: objectives(formed, called, calm, sound),
		},
		{
			Name: "kill", Nodes: 3, Calls: calls, Rounds: 5, Rest: time.Second,
			About:      "a node is killed and started again",
			Steps:      killed("n3"),
			Objectives: objectives(formed, called, calledInside, detectKill, recoverRestart, calm, sound),
		},
		{
			Name: "freeze", Nodes: 3, Calls: calls, Rounds: 3, Rest: time.Second,
			About:      "a node is frozen and thawed",
			Steps:      frozen("n3"),
			Objectives: objectives(formed, called, calledInside, detectFreeze, recoverThaw, calm, sound),
		},
		{
			Name: "restart", Nodes: 3, Calls: calls, Rounds: 3, Rest: time.Second,
			About: "a node leaves and comes back, and is killed and started at once",
			Steps: []Step{
				{After: 300 * time.Millisecond, Do: Fault{Action: Leave, Node: "n3"}},
				{When: Known, After: 300 * time.Millisecond, Do: Fault{Action: Start, Node: "n3"}},
				{When: Agreed, After: 300 * time.Millisecond, Do: Fault{Action: Kill, Node: "n3"}},
				{Do: Fault{Action: Start, Node: "n3"}},
				{When: Agreed},
			},
			Objectives: objectives(formed, called, calledInside, detectLeave, recoverRestart, calm, sound),
		},
		{
			Name: "partition", Nodes: 3, Calls: calls, Rounds: 2, Rest: time.Second,
			About: "a node is cut off both ways and one way; then only two nodes cannot talk, which kills nobody",
			Steps: slicesOf(
				cutOff("n3", Both), cutOff("n3", Out), cutOff("n3", In),
				[]Step{
					{After: 500 * time.Millisecond, Do: CutLink("n1", "n2", Both)},
					{After: 5 * time.Second, Do: Fault{Action: Heal}},
					{When: Agreed},
				}),
			Objectives: objectives(formed, called, calledInside, calledAcross, detectCut, recoverHeal, calm, sound),
		},
	}
}

func slicesOf(parts ...[]Step) []Step {
	var all []Step
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

// killed, frozen and cutOff are a fault, its detection, its end and the
// recovery.
func killed(node string) []Step {
	return []Step{
		{After: 500 * time.Millisecond, Do: Fault{Action: Kill, Node: node}},
		{When: Known, After: 300 * time.Millisecond, Do: Fault{Action: Start, Node: node}},
		{When: Agreed},
	}
}

func frozen(node string) []Step {
	return []Step{
		{After: 500 * time.Millisecond, Do: Fault{Action: Freeze, Node: node}},
		{When: Known, After: 300 * time.Millisecond, Do: Fault{Action: Thaw, Node: node}},
		{When: Agreed},
	}
}

func cutOff(node string, d Direction) []Step {
	return []Step{
		{After: 500 * time.Millisecond, Do: CutOff(node, d)},
		{When: Known, After: 300 * time.Millisecond, Do: Fault{Action: Heal}},
		{When: Agreed},
	}
}

func objectives(groups ...[]Objective) []Objective {
	var all []Objective
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

// both is the same aim on all targets; none only shows.
func both(aim float64) map[Target]float64 { return aims(aim, aim) }

// aims are those on processes and in containers. What is simulated has to reach
// what processes do.
func aims(process, docker float64) map[Target]float64 {
	return map[Target]float64{TargetProcess: process, TargetDocker: docker, TargetSim: process}
}

// onNodes is an aim of what only real nodes have.
func onNodes(aim float64) map[Target]float64 {
	return map[Target]float64{TargetProcess: aim, TargetDocker: aim}
}

var none = both(math.NaN())

func floor(v float64) *float64 { return &v }

func action(a Action) func(Fault) bool { return func(f Fault) bool { return f.Action == a } }

// isolated picks the cuts of a node from all others.
func isolated(f Fault) bool { return f.Action == Cut && f.Link.Peer == "" }

// The groups of objectives. The floors are those of the issue this harness was
// asked for with; the aims are measured ones with room for a busy machine.
var (
	formed = []Objective{
		{Name: "formation", About: "all nodes formed a cluster", Unit: "ms", Floor: floor(10_000), Aims: aims(1000, 2000), Measure: Formations},
		{Name: "formation_node", About: "one node had joined", Unit: "ms", Aims: none, Measure: Joins},
	}
	called = []Objective{
		{Name: "rpc_success", About: "calls while nothing was broken", Unit: "%", Least: true, Floor: floor(95), Aims: both(100), Measure: Success(Outside)},
		{Name: "rpc_latency", About: "a call took", Unit: "ms", Aims: none, Measure: Latency(Outside)},
		{Name: "rpc_indefinite", About: "failed calls that may have happened", Aims: both(0), Measure: Indefinite},
	}
	calledInside = []Objective{
		{Name: "rpc_success_faults", About: "calls to live nodes during faults", Unit: "%", Least: true, Floor: floor(95), Aims: both(99.9), Measure: Success(Inside)},
		{Name: "rpc_latency_faults", About: "such a call took", Unit: "ms", Aims: none, Measure: Latency(Inside)},
		{Name: "rpc_victim", About: "calls to or by way of a victim", Unit: "%", Least: true, Aims: none, Measure: Success(ToVictim)},
	}
	calledAcross = []Objective{
		{Name: "rpc_success_across", About: "calls across a broken link, by way of a third", Unit: "%", Least: true, Aims: aims(99.9, 99), Measure: Success(Across)},
		{Name: "rpc_latency_across", About: "such a call took", Unit: "ms", Aims: none, Measure: Latency(Across)},
	}
	detectKill = []Objective{{
		Name: "detect_kill", About: "kill known to a survivor", Unit: "ms", Floor: floor(5000), Aims: aims(200, 200),
		Measure: Detection(action(Kill), "MemberFailed"),
	}}
	detectFreeze = []Objective{{
		Name: "detect_freeze", About: "freeze known to a survivor", Unit: "ms", Floor: floor(5000), Aims: both(2800),
		Measure: Detection(action(Freeze), "MemberFailed"),
	}}
	detectCut = []Objective{{
		Name: "detect_cut", About: "cut known to a survivor", Unit: "ms", Floor: floor(5000), Aims: both(2800),
		Measure: Detection(isolated, "MemberFailed"),
	}}
	detectLeave = []Objective{{
		Name: "detect_leave", About: "leaving known to the others", Unit: "ms", Aims: both(2000),
		Measure: Detection(action(Leave), "MemberLeft"),
	}}
	recoverRestart = []Objective{{
		Name: "recover_restart", About: "started again: all agree", Unit: "ms", Aims: aims(2000, 4000),
		Measure: Recovery(func(f Fault) bool { return f.Action == Kill || f.Action == Leave }),
	}}
	recoverThaw = []Objective{{
		Name: "recover_thaw", About: "thawed: all agree", Unit: "ms", Aims: both(2000), Measure: Recovery(action(Freeze)),
	}}
	recoverHeal = []Objective{{
		Name: "recover_heal", About: "healed: all agree", Unit: "ms", Aims: aims(2000, 4000), Measure: Recovery(action(Cut)),
	}}
	memory = []Objective{
		{Name: "memory_rest", About: "resident memory of an idle node", Unit: "MB", Floor: floor(50), Aims: onNodes(25), Measure: Used(false, megabytesOf)},
		{Name: "memory_after", About: "the same after the run", Unit: "MB", Floor: floor(50), Aims: onNodes(35), Measure: Used(true, megabytesOf)},
		{Name: "memory_charged", About: "what the container is charged", Unit: "MB", Aims: map[Target]float64{TargetDocker: math.NaN()}, Measure: Used(true, chargedOf)},
	}
	calm = []Objective{
		{Name: "false_deaths", About: "nodes taken for failed that were not", Aims: both(0), Measure: FalseDeaths},
		{Name: "goroutine_growth", About: "goroutines more than at rest", Aims: onNodes(50), Measure: Growth(goroutinesOf)},
		{Name: "file_growth", About: "open files more than at rest", Aims: onNodes(30), Measure: Growth(filesOf)},
	}
	sound = []Objective{
		{Name: "crashes", About: "ends nobody caused, and panics", Floor: floor(0), Aims: onNodes(0), Measure: Crashes},
	}
)
