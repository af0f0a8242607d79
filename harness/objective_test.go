package harness

import (
	"encoding/json"
	"encoding/xml"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestVerdicts: a bound is met by the worst sample or not at all, and what was
// not measured has not passed.
func TestVerdicts(t *testing.T) {
	measured := func(samples ...float64) func(*History) []float64 { return func(*History) []float64 { return samples } }
	for name, tc := range map[string]struct {
		objective Objective
		want      Verdict
		worst     float64
	}{
		"met":                  {Objective{Aims: both(5), Measure: measured(1, 5, 2)}, Met, 5},
		"the aim missed":       {Objective{Aims: both(5), Floor: floor(9), Measure: measured(1, 6)}, Missed, 6},
		"the floor missed":     {Objective{Aims: none, Floor: floor(9), Measure: measured(10)}, Missed, 10},
		"never":                {Objective{Aims: both(5), Measure: measured(1, math.Inf(1))}, Missed, math.Inf(1)},
		"at least, met":        {Objective{Least: true, Aims: both(99), Measure: measured(99.5, 100)}, Met, 99.5},
		"at least, missed":     {Objective{Least: true, Aims: both(99), Measure: measured(100, 98)}, Missed, 98},
		"not measured":         {Objective{Aims: both(5), Measure: measured()}, NotMeasured, math.NaN()},
		"no figure":            {Objective{Aims: both(5), Measure: measured(1, math.NaN(), 2)}, Missed, math.NaN()},
		"no figure, at least":  {Objective{Least: true, Aims: both(5), Measure: measured(9, math.NaN())}, Missed, math.NaN()},
		"shown":                {Objective{Aims: none, Measure: measured(7)}, Shown, 7},
		"shown, with no value": {Objective{Aims: none, Measure: measured()}, Shown, math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := tc.objective.judge(&History{}, TargetProcess)
			require.True(t, ok)
			require.Equal(t, tc.want, r.Verdict)
			if math.IsNaN(tc.worst) {
				require.True(t, math.IsNaN(float64(r.Worst)))
				return
			}
			require.Equal(t, Number(tc.worst), r.Worst)
		})
	}
	_, ok := Objective{Aims: map[Target]float64{TargetDocker: 1}}.judge(&History{}, TargetProcess)
	require.False(t, ok, "another target's")
}

func TestQuantiles(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	require.Equal(t, Number(50), quantile(hundred, 0.5))
	require.Equal(t, Number(99), quantile(hundred, 0.99))
	require.Equal(t, Number(100), quantile(hundred, 1))
	require.Equal(t, Number(3), quantile([]float64{3}, 0.5))
	require.Equal(t, Number(1), quantile([]float64{1, 2}, 0.5))
}

// at is a time in a made-up history, in milliseconds.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

// story is a run in which n3 is killed at 1000, known to n1 after 10 ms and to
// n2 never, and back at 3000; then n1 and n2 cannot talk from 5000 to 7200.
func story() *History {
	return &History{
		Nodes: []string{"n1", "n2", "n3"}, Begun: at(0), Ended: at(9000),
		Formation: []Formation{
			{at(-500), map[string]time.Time{"n1": at(-400), "n2": at(-300), "n3": at(-450)}},
			{at(-200), map[string]time.Time{"n1": at(-100)}},
		},
		Windows: []Window{
			{Fault: Fault{Action: Kill, Node: "n3"}, Begun: at(990), From: at(1000), Mended: at(2000), Over: at(3000), Observers: []string{"n1", "n2"}},
			{Fault: CutLink("n1", "n2", Both), Begun: at(5000), From: at(5000), Mended: at(7200), Over: at(7500), Observers: []string{"n2", "n3"}},
			{Fault: Fault{Action: Freeze, Node: "n3"}, Begun: at(8000), From: at(8000), Observers: []string{"n1"}},
		},
		Sightings: []Sighting{
			{"n1", "MemberFailed", "n3", "why", at(500)}, // before: of another fault
			{"n1", "MemberSuspected", "n3", "why", at(1005)},
			{"n1", "MemberFailed", "n3", "why", at(1010)},
			{"n3", "MemberFailed", "n1", "why", at(2500)}, // the victim's own view
			{"n1", "MemberFailed", "n3", "why", at(7990)}, // out of nothing
			{"n3", "MemberFailed", "n2", "why", at(5500)}, // a link between two kills nobody
		},
		Calls: []Call{
			{"n1", "n2", at(100), time.Millisecond, "", true},
			{"n1", "n2", at(200), 2 * time.Millisecond, "timeout", false},
			{"n1", "n3", at(1500), time.Millisecond, "node_unavailable", true}, // to the victim
			{"n3", "n1", at(1500), time.Millisecond, "node_unavailable", true}, // by way of it
			{"n1", "n2", at(1500), 3 * time.Millisecond, "", true},
			{"n2", "n1", at(5500), time.Millisecond, "timeout", false}, // over the broken link, just now
			{"n1", "n2", at(7000), time.Millisecond, "", true},         // and later
			{"n2", "n1", at(7100), time.Millisecond, "timeout", false},
			{"n3", "n1", at(5500), time.Millisecond, "", true},
			{"n2", "n3", at(4990), 20 * time.Millisecond, "timeout", false}, // begun before, hit by it
		},
		Samples: []Sample{
			{Node: "n1", Memory: Memory{RSS: 10_000_000, Charged: 2_000_000}, Goroutines: 10, OpenFiles: 5},
			{Node: "n1", Memory: Memory{RSS: 12_000_000, Charged: 3_000_000}, Goroutines: 14, OpenFiles: 4, After: true},
			{Node: "n2", Memory: Memory{RSS: 9_000_000}, After: true}, // not seen at rest
			{Node: "n3", Failed: true, After: true},
		},
	}
}

func TestFigures(t *testing.T) {
	h := story()
	inf := math.Inf(1)
	require.Equal(t, []float64{200, inf}, Formations(h), "the second start never formed")
	require.Equal(t, []float64{100, 200, 50, 100, inf, inf}, Joins(h))
	require.Equal(t, []float64{10, inf}, Detection(action(Kill), "MemberFailed")(h), "n2 was never told")
	require.Equal(t, []float64{inf}, Detection(action(Freeze), "MemberFailed")(h))
	require.Empty(t, Detection(action(Leave), "MemberLeft")(h))
	require.Equal(t, []float64{1000}, Recovery(action(Kill))(h))
	require.Equal(t, []float64{inf}, Recovery(action(Freeze))(h), "never mended")
	require.Equal(t, []float64{50}, Success(Outside)(h))
	require.InDelta(t, 66.67, Success(Inside)(h)[0], 0.01, "n2 to n3 is not about the broken link")
	require.Equal(t, []float64{0}, Success(ToVictim)(h))
	require.Nil(t, Success(ToVictim)(&History{}))
	require.Equal(t, []float64{3, 1}, Latency(Inside)(h))
	require.Equal(t, []float64{50}, Success(Across)(h))
	require.Equal(t, []float64{3}, Indefinite(h), "those to a victim are another matter")
	require.Nil(t, Indefinite(&History{Ended: at(1)}), "no calls were made")
	require.Equal(t, []float64{3}, FalseDeaths(h))
	require.Nil(t, FalseDeaths(&History{}), "no calls were made: nothing was measured")
	require.Equal(t, []float64{10}, Used(false, megabytesOf)(h))
	require.Equal(t, []float64{3, 0, inf}, Used(true, chargedOf)(h))
	require.Equal(t, []float64{4, inf, inf}, Growth(goroutinesOf)(h))
	require.Equal(t, []float64{-1, inf, inf}, Growth(filesOf)(h))
	require.Equal(t, []float64{0}, Crashes(h))
	h.Unread, h.Unheard = []Loss{{"n1", "why"}}, []Loss{{"n1", "why"}}
	require.Nil(t, Crashes(h), "there may have been one")
	require.Equal(t, []float64{3}, FalseDeaths(h), "at least")
	h.Sightings = nil
	require.Nil(t, FalseDeaths(h))
}

func TestEndings(t *testing.T) {
	require.True(t, Ending{Code: 2}.Crashed())
	require.True(t, Ending{Code: -1, Signal: "segmentation fault"}.Crashed())
	require.False(t, Ending{Code: -1, Signal: "killed"}.Crashed())
	require.False(t, Ending{}.Crashed())
	for line, want := range map[string]bool{
		"panic: oops": true, "fatal error: all goroutines are asleep": true, "WARNING: DATA RACE": true,
		`level=ERROR msg="operation panicked" op=x`: true, "level=INFO msg=\"no panic: really\"": false,
	} {
		require.Equal(t, want, bad(line), line)
	}
}

// report is one with something of everything.
func report() *Report {
	h := story()
	r := &Report{Scenario: "kill", About: "a node is killed", Target: TargetProcess, Nodes: 3, Took: 3 * time.Second, Ends: []End{{"n2", "panic: `x`"}}}
	for _, o := range objectives(formed, called, detectKill, detectLeave) {
		res, _ := o.judge(h, TargetProcess)
		r.Results = append(r.Results, res)
	}
	r.FailedCalls = []string{"timeout by way of n1 | to n2"}
	return r
}

func TestReports(t *testing.T) {
	r := report()
	require.False(t, r.Passed())
	text := r.Text()
	require.Regexp(t, `kill on process, 3 nodes, 3.0 s: failed`, text)
	require.Regexp(t, `formation +≤ 10000 ms +≤ 1000 ms +200 ms +never +never +2 +missed`, text)
	require.Regexp(t, `detect_leave +- +≤ 2000 ms +- +- +- +0 +not measured`, text)
	require.Contains(t, text, "Calls to live nodes that failed:\n  timeout by way of n1")
	require.Contains(t, text, "n2: panic")

	raw, err := r.JSON()
	require.NoError(t, err)
	var back struct {
		Results []struct {
			Name  string   `json:"name"`
			Worst *float64 `json:"worst"`
		} `json:"results"`
	}
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Nil(t, back.Results[0].Worst, "JSON has no word for never")
	var again Report
	require.NoError(t, json.Unmarshal(raw, &again))
	require.True(t, math.IsNaN(float64(again.Results[0].Worst)))
	require.Equal(t, Number(200), again.Results[0].P50)

	dir := filepath.Join(t.TempDir(), "new")
	require.NoError(t, Write(dir, []*Report{r, r}))
	markdown, err := os.ReadFile(filepath.Join(dir, "report.md"))
	require.NoError(t, err)
	require.Contains(t, string(markdown), "### ❌ kill on process")
	require.Contains(t, string(markdown), "| rpc_success | ≥ 95.00 % | ≥ 100 % | 50.00 % |")
	xmlText, err := os.ReadFile(filepath.Join(dir, "report.xml"))
	require.NoError(t, err)
	var suites junitSuites
	require.NoError(t, xml.Unmarshal(xmlText, &suites))
	require.Len(t, suites.Suites, 2)
	require.Equal(t, len(r.Results)+1, suites.Suites[0].Tests)
	require.Equal(t, strings.Count(text, "missed")+strings.Count(text, "not measured"), suites.Suites[0].Failures)
	require.Equal(t, 2, suites.Suites[0].Skipped, "of formation_node and rpc_latency nothing was asked")

	require.False(t, (&Report{}).Passed(), "nothing was asked")
	good := &Report{Results: []Result{{Name: "a", Verdict: Met}, {Name: "b", Verdict: Shown}}}
	require.True(t, good.Passed())
	good.Failure = "it ended early"
	require.False(t, good.Passed())
}

func TestScenariosFit(t *testing.T) {
	for _, s := range Scenarios() {
		require.NoError(t, s.Fits(0), s.Name)
		require.NoError(t, s.Fits(7), s.Name)
		require.NotEmpty(t, s.Objectives)
		require.NotEmpty(t, s.About)
	}
	partition, err := Find("partition")
	require.NoError(t, err)
	require.ErrorContains(t, partition.Fits(2), "needs at least 3 nodes, not 2")
	require.ErrorContains(t, partition.Fits(99), "1 to 32")
	require.ErrorContains(t, Scenario{Name: "x", Calls: Calls{Every: 1}}.Fits(1), "needs at least 2 nodes, not 1")
	_, err = Find("nope")
	require.ErrorContains(t, err, `no scenario "nope"; there are baseline, formation, kill`)
	require.Equal(t, "cut n3 (both) from all", CutOff("n3", "").String())
	require.Equal(t, "cut n1 (in) from n2", CutLink("n1", "n2", In).String())
	require.Equal(t, "heal", Fault{Action: Heal}.String())
}

// TestStepsAreChecked before anything is started.
func TestStepsAreChecked(t *testing.T) {
	link := Link{Node: "n3"}
	for want, step := range map[string]Step{
		`no condition "agred"`:                 {When: "agred"},
		`no action "kil"`:                      {Do: Fault{Action: "kil", Node: "n1"}},
		"no action \"\"":                       {Do: Fault{Node: "n1"}},
		"kill needs a node":                    {Do: Fault{Action: Kill}},
		"kill n1 takes no link":                {Do: Fault{Action: Kill, Node: "n1", Link: link}},
		"no node and no link":                  {Do: Fault{Action: Heal, Node: "n1"}},
		"cut needs the link's node":            {Do: Fault{Action: Cut, Node: "n3"}},
		"not n1":                               {Do: Fault{Action: Cut, Node: "n1", Link: link}},
		"that is no link":                      {Do: CutLink("n1", "n1", Both)},
		`no direction "up"`:                    {Do: CutOff("n1", "up")},
		"with a delay of 0s":                   {Do: Fault{Action: Delay, Link: link}},
		"with a delay of 1s; only delay":       {Do: Fault{Action: Cut, Link: Link{Node: "n3", Delay: time.Second}}},
		"with a loss of 0":                     {Do: Fault{Action: Lose, Link: link}},
		"with a loss of 2":                     {Do: Fault{Action: Lose, Link: Link{Node: "n3", Loss: 2}}},
		`there can be no node "n99"`:           {Do: Fault{Action: Kill, Node: "n99"}},
		"scenario x needs at least 4 nodes":    {Do: CutLink("n1", "n4", Both)},
		"scenario x, step 1: there is no cond": {When: "later", Do: Fault{Action: Kill, Node: "n1"}},
	} {
		require.ErrorContains(t, Scenario{Name: "x", Steps: []Step{step}}.Fits(3), want)
	}
	require.Equal(t, "n3", Fault{Action: Cut, Link: link}.complete().Node)
	require.NoError(t, Scenario{Steps: []Step{{Do: Fault{Action: Cut, Link: link}}}}.Fits(3))
}
