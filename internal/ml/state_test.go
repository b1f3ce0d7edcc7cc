package ml

import (
	"testing"
	"time"
)

func TestEveryTransition(t *testing.T) {
	statuses := []Status{"", Queued, Preparing, Running, Finalizing, CancelRequested, Completed, Failed, Canceled}
	events := []event{eventSubmit, eventPrepare, eventStart, eventCancel, eventCollect, eventComplete, eventFail, eventStop, eventRequeue}
	// by status, by event; "-" is refused
	want := map[Status][]Status{
		"":              {Queued, "-", "-", "", "-", "-", "-", "-", "-"},
		Queued:          {"-", Preparing, "-", CancelRequested, Finalizing, "-", "-", "-", Queued},
		Preparing:       {"-", Preparing, Running, CancelRequested, Finalizing, "-", "-", "-", Queued},
		Running:         {"-", Preparing, Running, CancelRequested, Finalizing, "-", "-", "-", Queued},
		Finalizing:      {"-", "-", "-", Finalizing, Finalizing, Completed, Failed, Canceled, "-"},
		CancelRequested: {"-", CancelRequested, CancelRequested, CancelRequested, CancelRequested, Completed, Failed, Canceled, CancelRequested},
		Completed:       {"-", "-", "-", Completed, Completed, Completed, "-", "-", "-"},
		Failed:          {"-", "-", "-", Failed, Failed, "-", Failed, "-", "-"},
		Canceled:        {"-", "-", "-", Canceled, Canceled, "-", "-", Canceled, "-"},
	}
	for _, s := range statuses {
		for i, e := range events {
			got, err := nextStatus(s, e)
			if err != nil {
				if got != s {
					t.Errorf("%s + %s was refused and changed to %s", s, e, got)
				}
				got = "-"
			}
			if got != want[s][i] {
				t.Errorf("%q + %s = %q, want %q", s, e, got, want[s][i])
			}
		}
	}
}

func TestTimelineIsBounded(t *testing.T) {
	r := &run{}
	at := time.Unix(0, 0)
	step := func(e event) {
		at = at.Add(time.Second)
		if err := r.move(e, at); err != nil {
			t.Fatal(err)
		}
	}
	step(eventSubmit)
	for range maxTimeline {
		step(eventPrepare)
		step(eventStart)
	}
	if len(r.Timeline) != maxTimeline || r.Timeline[0].Status != Queued || r.Timeline[maxTimeline-1].At != at {
		t.Errorf("%d moments, from %v to %v", len(r.Timeline), r.Timeline[0], r.Timeline[len(r.Timeline)-1])
	}
	if r.Started.Unix() != 3 {
		t.Errorf("started at %v, want the first time", r.Started)
	}
}

func TestFromURL(t *testing.T) {
	for uri, want := range map[string]string{
		"https://acct.blob.core.windows.net/c/a/b.csv":   "acct c a/b.csv",
		"https://ACCT.dfs.core.windows.net/fs/dir/":      "acct fs dir/",
		"wasbs://c@acct.blob.core.windows.net/a%20b/c":   "acct c a b/c",
		"abfss://fs@acct.dfs.core.windows.net/x":         "acct fs x",
		"https://acct.blob.core.windows.net/c/p?sig=x":   "acct c p",
		"https://example.com/a.csv":                      "",
		"adl://acct.azuredatalakestore.net/x":            "",
		"wasbs://acct.blob.core.windows.net/x":           "",
		"file:///etc/passwd":                             "",
		"":                                               "",
		"https://acct.blob.core.windows.net":             "",
		"https://acct.blob.core.windows.net.evil.com/c/": "",
	} {
		at, err := fromURL(uri)
		got := ""
		if err == nil {
			got = at.Account + " " + at.Container + " " + at.Path
		}
		if got != want {
			t.Errorf("%s = %q (%v), want %q", uri, got, err, want)
		}
	}
}

func TestDatastoreURI(t *testing.T) {
	for uri, want := range map[string][2]string{
		"azureml://datastores/d/paths/a/b":                                             {"d", "a/b"},
		"azureml://datastores/d/paths/":                                                {"d", ""},
		"azureml://datastores/d/paths":                                                 {"d", ""},
		"azureml://datastores/d/pathsfoo":                                              {"d", "pathsfoo"},
		"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.x":             {"workspaceartifactstore", "ExperimentRun/dcid.x"},
		"azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths/a": {"d", "a"},
		"azureml://subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/datastores/d/paths/a": {"d", "a"},
	} {
		m := datastoreURI().FindStringSubmatch(uri)
		if m == nil || m[4] != want[0] || m[5] != want[1] {
			t.Errorf("%s = %q, want %q", uri, m, want)
		}
	}
}

func FuzzURIs(f *testing.F) {
	for _, s := range []string{"azureml://datastores/d/paths/a", "azureml://jobs/j/outputs/o/paths/p", "https://a.blob.core.windows.net/c/p", "azureml:a:1", "wasbs://c@a.blob.core.windows.net/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		datastoreURI().FindStringSubmatch(s)
		assetURI().FindStringSubmatch(s)
		jobOutputURI().FindStringSubmatch(s)
		if at, err := fromURL(s); err == nil && (at.Account == "" || at.Container == "") {
			t.Errorf("%q leads to %+v", s, at)
		}
	})
}

func TestCurated(t *testing.T) {
	for name, want := range map[string]bool{
		"AzureML-sklearn-1.5": true, "azureml-SKLEARN-1.5": true, "sklearn-1.5": false, "AzureML-": false, "AzureML-mine": false,
	} {
		if curated(name) != want {
			t.Errorf("curated(%q) = %t", name, !want)
		}
	}
}

func TestLogIntervalsLast(t *testing.T) {
	var total time.Duration
	for blocks := range 49_000 {
		total += interval(blocks)
	}
	if total < 7*24*time.Hour {
		t.Errorf("an append blob is full after %v of uninterrupted output", total)
	}
}
