package ml

import (
	"strings"
	"testing"
)

func TestPolicies(t *testing.T) {
	at := func(values ...float64) func(p *earlyPolicy) reached {
		return func(p *earlyPolicy) (r reached) {
			for _, v := range values {
				r = p.add(r, v)
			}
			return r
		}
	}
	type trial = func(p *earlyPolicy) reached
	for name, c := range map[string]struct {
		policy earlyPolicy
		one    trial
		others []trial
		stops  bool
	}{
		// the example of Azure's documentation: 0.8/(1+0.2) is 0.667
		"bandit factor keeps":              {earlyPolicy{Type: "Bandit", Maximize: true, Factor: 0.2}, at(0.67), []trial{at(0.8)}, false},
		"bandit factor stops":              {earlyPolicy{Type: "Bandit", Maximize: true, Factor: 0.2}, at(0.66), []trial{at(0.8)}, true},
		"bandit factor, minimize, keeps":   {earlyPolicy{Type: "Bandit", Factor: 0.2}, at(1.19), []trial{at(1)}, false},
		"bandit factor, minimize, stops":   {earlyPolicy{Type: "Bandit", Factor: 0.2}, at(1.21), []trial{at(1)}, true},
		"bandit amount keeps":              {earlyPolicy{Type: "Bandit", Maximize: true, Amount: 0.1}, at(0.71), []trial{at(0.8)}, false},
		"bandit amount stops":              {earlyPolicy{Type: "Bandit", Maximize: true, Amount: 0.1}, at(0.69), []trial{at(0.8)}, true},
		"bandit looks at the best":         {earlyPolicy{Type: "Bandit", Maximize: true, Amount: 0.1}, at(0.8, 0.1), []trial{at(0.8, 0.8)}, false},
		"bandit of a negative best":        {earlyPolicy{Type: "Bandit", Maximize: true, Factor: 0.2}, at(-1), nil, false},
		"bandit alone":                     {earlyPolicy{Type: "Bandit"}, at(5), nil, false},
		"median stops":                     {earlyPolicy{Type: "MedianStopping", Maximize: true}, at(0.1, 0.2), []trial{at(0.5, 0.7), at(0.2, 0.4)}, true},
		"median keeps":                     {earlyPolicy{Type: "MedianStopping", Maximize: true}, at(0.1, 0.35), []trial{at(0.5, 0.7), at(0.2, 0.4)}, false},
		"median, minimize, stops":          {earlyPolicy{Type: "MedianStopping"}, at(9, 8), []trial{at(1, 2), at(1, 1)}, true},
		"median alone":                     {earlyPolicy{Type: "MedianStopping"}, at(9, 8), nil, false},
		"truncation stops the lowest":      {earlyPolicy{Type: "TruncationSelection", Maximize: true, Percent: 50}, at(0.1), []trial{at(0.2), at(0.3), at(0.4)}, true},
		"truncation keeps the third":       {earlyPolicy{Type: "TruncationSelection", Maximize: true, Percent: 50}, at(0.3), []trial{at(0.1), at(0.2), at(0.4)}, false},
		"truncation needs enough":          {earlyPolicy{Type: "TruncationSelection", Maximize: true, Percent: 20}, at(0.1), []trial{at(0.2), at(0.3), at(0.4)}, false},
		"truncation spares equals":         {earlyPolicy{Type: "TruncationSelection", Percent: 50}, at(1), []trial{at(1), at(1), at(1)}, false},
		"truncation goes by the last":      {earlyPolicy{Type: "TruncationSelection", Maximize: true, Percent: 50}, at(0.9, 0.1), []trial{at(0.2, 0.2)}, true},
		"truncation, minimize, the lowest": {earlyPolicy{Type: "TruncationSelection", Percent: 50}, at(3), []trial{at(1)}, true},
	} {
		p := c.policy
		p.Metric = "m"
		one := c.one(&p)
		all := []reached{one}
		for _, o := range c.others {
			all = append(all, o(&p))
		}
		if why := p.verdict(one, all); (why != "") != c.stops {
			t.Errorf("%s: %q", name, why)
		}
	}
	p := earlyPolicy{Interval: 2, Delay: 5}
	var due []string
	for n := range 10 {
		if p.due(n) {
			due = append(due, string(rune('0'+n)))
		}
	}
	if got := strings.Join(due, " "); got != "6 8" {
		t.Errorf("due at %s", got)
	}
}
