package harness

import (
	"encoding/xml"
	"fmt"
)

// The parts of a JUnit report that continuous integration reads.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Seconds  string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitFailure `xml:"failure,omitempty"`
		Skipped *struct{}     `xml:"skipped,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
	}
)

// JUnit writes reports for a continuous integration that reads JUnit's XML: a
// suite for each, a test for each objective.
func JUnit(reports []*Report) ([]byte, error) {
	var all junitSuites
	for _, r := range reports {
		class := fmt.Sprintf("%s.%s", r.Target, r.Scenario)
		suite := junitSuite{Name: class, Seconds: fmt.Sprintf("%.3f", r.Took.Seconds())}
		for _, res := range r.Results {
			c := junitCase{Class: class, Name: res.Name}
			switch res.Verdict {
			case Shown: // nothing was asked
				c.Skipped = &struct{}{}
			case Missed, NotMeasured:
				c.Failure = &junitFailure{fmt.Sprintf("%s: %s is %s, floor %s, aim %s", res.Verdict, res.About, res.number(res.Worst), res.bound(res.Floor), res.bound(res.Aim))}
			}
			suite.add(c)
		}
		ran := junitCase{Class: class, Name: "ran_to_its_end"}
		if r.Failure != "" {
			ran.Failure = &junitFailure{r.Failure}
		}
		suite.add(ran)
		all.Suites = append(all.Suites, suite)
	}
	raw, err := xml.MarshalIndent(all, "", "  ")
	return append([]byte(xml.Header), append(raw, '\n')...), err
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Skipped != nil {
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}
