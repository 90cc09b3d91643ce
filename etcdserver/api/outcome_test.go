package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"canopy/client"
	"canopy/etcdserver"
	"canopy/internal/disk"
	"canopy/internal/httpserver"
	"canopy/proxy"
	"canopy/proxy/upstream"
	"canopy/store"
)

// newProxy runs a proxy in front of members with these client URLs, and gives its URL.
func newProxy(t *testing.T, urls []string) string {
	t.Helper()
	var peer *httptest.Server
	peer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Etcd-Cluster-Id", "4add5")
		if err := json.NewEncoder(w).Encode([]map[string]any{{"id": 1, "peerURLs": []string{peer.URL}, "clientURLs": urls}}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(peer.Close)
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	p, err := proxy.New(proxy.Options{Options: upstream.Options{
		FS: disk.NewMem(), Dir: "/proxy", Log: logger,
		Peers: func(context.Context) ([]string, error) { return []string{peer.URL}, nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("the proxy: %v", err)
		}
	})
	server := httptest.NewServer(p)
	t.Cleanup(func() { server.Close(); stop(); running.Wait() })
	eventually(t, "the proxy knows all members", func() bool {
		answer, err := http.Get(server.URL + "/v2/config/local/proxy")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		var known struct{ Endpoints []string }
		return json.NewDecoder(answer.Body).Decode(&known) == nil && len(known.Endpoints) == len(urls)
	})
	return server.URL
}

// For each error that a write can get, clients and proxies act on the answer as the error demands.
func TestOnlyWhatIsNotAppliedIsRepeated(t *testing.T) {
	sites := []*site{newSite(t, Options{}, httpserver.Options{}), newSite(t, Options{}, httpserver.Options{})}
	members := []string{"http://" + sites[0].addr, "http://" + sites[1].addr}
	through := newProxy(t, members)
	writes := map[string]func(*client.Client) error{
		"a write": func(c *client.Client) error {
			_, err := c.CreateInOrder(t.Context(), "/queue", "v", 0)
			return err
		},
		"a change of the members": func(c *client.Client) error {
			_, err := c.AddMember(t.Context(), []string{"http://127.0.0.1:1"})
			return err
		},
	}
	all := append(etcdserver.WriteErrors(),
		etcdserver.WriteError{Err: errors.New("not in the table")},
		etcdserver.WriteError{Err: context.DeadlineExceeded},
		etcdserver.WriteError{Err: fmt.Errorf("%w: %w", etcdserver.ErrStopped, etcdserver.ErrTooBusy)})
	for _, e := range all {
		if got := etcdserver.OutcomeOf(fmt.Errorf("wrapped: %w", e.Err)); got != e.Outcome {
			t.Errorf("%v says that the outcome is %v, want %v", e.Err, got, e.Outcome)
		}
		for what, write := range writes {
			for way, endpoints := range map[string][]string{"a client": members, "a proxy": {through}} {
				for _, s := range sites {
					s.member.failDo.Store(&e.Err)
					s.member.changed = e.Err
					s.member.asked.Store(0)
				}
				c, err := client.New(client.Config{Endpoints: endpoints})
				if err != nil {
					t.Fatal(err)
				}
				err = write(c)
				asked := sites[0].member.asked.Load() + sites[1].member.asked.Load()
				unknown := e.Outcome == etcdserver.OutcomeUnknown
				if err == nil || errors.Is(err, client.ErrUnknownOutcome) != unknown || unknown && asked != 1 || asked == 0 {
					t.Errorf("%s that fails with %q, by %s, was done %d times: %v; the outcome is %v", what, e.Err, way, asked, err, e.Outcome)
				}
			}
		}
	}
}

// TestTheManualListsTheErrorsOfWrites compares the table of docs/api.md with the code.
func TestTheManualListsTheErrorsOfWrites(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## What an error says about a write\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("docs/api.md has no section for the errors of writes")
	}
	h := newSite(t, Options{}, httpserver.Options{}).handler
	rows := 0
	for _, e := range etcdserver.WriteErrors() {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, "/", nil)
		if e.Change {
			h.cluster.FailChange(w, r, "<id>", e.Err)
		} else {
			h.writeKeysError(w, r, e.Err)
		}
		said := struct{ Message, Cause string }{}
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
			t.Fatal(err)
		}
		row := fmt.Sprintf("| `%s` | %d | %v |\n", said.Message, w.Code, e.Outcome)
		if !e.Change {
			row = fmt.Sprintf("| `%s` | %d | %v |\n", said.Cause, w.Code, e.Outcome)
		}
		if errors.As(e.Err, new(*store.Error)) {
			row = fmt.Sprintf("| codes 100 to 212 | see above | %v |\n", e.Outcome)
		} else if errors.As(e.Err, new(*etcdserver.ReconfigurationError)) {
			row = fmt.Sprintf("| any other text with this status | %d | %v |\n", w.Code, e.Outcome)
		}
		if rows++; strings.Count(section, "\n"+row) != 1 {
			t.Errorf("docs/api.md lacks\n%s", row)
		}
	}
	if got := strings.Count(section, "\n| ") - 1; got != rows+1 { // without the head; the last row is for all others
		t.Errorf("docs/api.md has %d rows, want %d, and one for all other errors", got, rows)
	}
}
