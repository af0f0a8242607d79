//go:build sabotage

package sim

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/glassbox-dev/glassbox/internal/sabotage"
)

// TestSabotage: each rule that is broken on purpose is noticed within a few seeds.
func TestSabotage(t *testing.T) {
	for _, rule := range []string{
		"apply out of order",
		"keep the claims of a former life",
		"forget to withdraw",
		"skip an acknowledgement",
		"trust a dial as life",
		"take a refusal for a death",
		"refuse on hearsay",
		"withdraw before the winner confirms",
		"take a message twice",
		"forget to look for conflicts",
		"trust what is not confirmed",
		"let a name go before all know",
		"ignore who knows a better claim",
		"open the joining gate early",
		"hide who is only connected again",
		"answer a repeat before all know",
		"wait in a circle",
	} {
		t.Run(rule, func(t *testing.T) {
			sabotage.Rule = rule
			defer func() { sabotage.Rule = "" }()
			seed, why := caught(t, func(seed uint64) Plan { return Mixed(seed, 3+int(seed%3)) })
			require.NotEmpty(t, why, "%d seeds, and nobody noticed", *seeds)
			t.Logf("seed %d: %s", seed, why)
		})
	}
	// A conflict is excused only between nodes that were without each other, not by
	// any fault elsewhere.
	t.Run("ignore who knows a better claim, while a third is dead", func(t *testing.T) {
		sabotage.Rule = "ignore who knows a better claim"
		defer func() { sabotage.Rule = "" }()
		seed, why := caught(t, thirdDead)
		require.Contains(t, why, "neither node was without the other", "%d seeds", *seeds)
		t.Logf("seed %d: %s", seed, why)
	})
}

// caught returns the first seed with which a rule was seen broken. A core that
// panics when its rules are broken is noticed too.
func caught(t *testing.T, plan func(seed uint64) Plan) (seed uint64, why string) {
	for seed := range *seeds {
		func() {
			defer func() {
				if p := recover(); p != nil {
					why = fmt.Sprint("panic: ", p)
				}
			}()
			o, err := Run(plan(seed))
			require.NoError(t, err)
			if !o.Passed() {
				why = o.Broken[0]
			}
		}()
		if why != "" {
			return seed, why
		}
	}
	return 0, ""
}
