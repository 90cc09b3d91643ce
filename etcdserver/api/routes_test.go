package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"canopy/etcdserver"
	"canopy/etcdserver/metrics"
	"canopy/internal/httpserver"
	"canopy/store"
)

func TestMethodsOfEachPath(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	for _, c := range []struct {
		path, allow string
		also        string // allowed, but not in Allow
		cluster     bool   // X-Etcd-Cluster-Id on success
	}{
		{"/version", "GET", "HEAD", false},
		{"/health", "GET", "HEAD", false},
		{"/v2/machines", "GET,HEAD", "", false},
		{"/v2/stats/self", "GET", "", false},
		{"/v2/stats/leader", "GET", "", false},
		{"/v2/stats/store", "GET", "", false},
		{"/debug/vars", "GET", "", false},
		{"/config/local/log", "PUT", "", false},
		{"/v2/members", "GET,POST,DELETE,PUT", "", true},
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"} {
			a := s.do(method, c.path, "")
			if strings.Contains(c.allow+","+c.also, method) {
				if a.status == 405 && c.path != "/v2/members" || a.status == 404 {
					t.Errorf("S1, E41: %s %s = %d", method, c.path, a.status)
				}
				continue
			}
			if a.status != 405 || a.header.Get("Allow") != c.allow || method != "HEAD" && a.body != "Method Not Allowed\n" || a.header.Get("X-Etcd-Cluster-Id") != "" {
				t.Errorf("E41: %s %s = %d %q, Allow %q, want 405, %q", method, c.path, a.status, a.body, a.header.Get("Allow"), c.allow)
			}
		}
	}
	for _, path := range []string{"/", "/v2", "/v2/", "/v2/stats", "/v2/stats/", "/version/", "/health/", "/v2/machines/", "/v2/leader", "/v2/auth", "//version", "/debug/pprof"} {
		s.wants("GET", path, "", 404, "404 page not found\n")
	}
}

func TestAnswersAboutTheCluster(t *testing.T) {
	s := newSite(t, Options{Version: "1.2.3"}, httpserver.Options{})
	const member = `{"id":"2ee3bf4adcf59b4","name":"m1","peerURLs":["http://127.0.0.1:2380"],"clientURLs":["http://127.0.0.1:2379","http://127.0.0.1:4001"]}`
	for _, c := range []struct {
		rule, method, target string
		status               int
		body                 string
	}{
		{"M8", "GET", "/v2/members", 200, `{"members":[` + member + "]}\n"},
		{"M8", "GET", "/v2/members/?x=y", 200, `{"members":[` + member + "]}\n"},
		{"M10", "GET", "/v2/members/leader", 200, member + "\n"},
		{"M12", "GET", "/v2/members/2ee3bf4adcf59b4", 404, `{"message":"Not found"}`},
		{"E31n", "DELETE", "/v2/members/", 405, "Method Not Allowed\n"},
		{"M13", "GET", "/v2/machines", 200, "http://127.0.0.1:2379, http://127.0.0.1:4001"},
		{"S19", "GET", "/version", 200, `{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}`},
		{"S14", "GET", "/health", 200, `{"health": "true"}`},
		{"S8", "GET", "/v2/stats/leader", 200, `{"leader":"2ee3bf4adcf59b4","followers":{}}`},
	} {
		a := s.wants(c.method, c.target, "", c.status, c.body)
		if members := strings.HasPrefix(c.target, "/v2/members"); members != (a.header.Get("X-Etcd-Cluster-Id") == "4add5") {
			t.Errorf("%s: %s: %v", c.rule, c.target, a.header)
		}
	}
	if got := s.do("GET", "/version", "").header.Get("X-Canopy-Version"); got != "1.2.3" {
		t.Errorf("S20: our version is %q", got)
	}
	s.member.differences = []etcdserver.Difference{{Member: 0xabc, Index: 7}}
	s.wants("GET", "/health", "", 200, `{"health": "true", "alarm": "another state than here: abc"}`)
	s.member.leader.Store(0)
	s.wants("GET", "/health", "", 503, `{"health": "false", "reason": "no leader", "alarm": "another state than here: abc"}`+"\n")
	s.member.differences = nil
	s.wants("GET", "/v2/members/leader", "", 503, `{"message":"During election"}`)
	s.wants("GET", "/v2/stats/leader", "", 403, `{"message":"not current leader"}`)
	a := s.wants("GET", "/health", "", 503, `{"health": "false", "reason": "no leader"}`+"\n")
	if a.header.Get("Content-Type") != "text/plain; charset=utf-8" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("S14: %v", a.header)
	}
}

func TestStatsOfTheMember(t *testing.T) {
	s := newSite(t, Options{}, httpserver.Options{})
	s.member.followers = []etcdserver.FollowerStats{{ID: 0x8b619152221f0265, Success: 206, Current: 86 * time.Microsecond, Maximum: time.Second}}
	s.member.traffic = etcdserver.Traffic{Sent: etcdserver.Flow{Messages: 420, PerSecond: 11.5}}
	self := s.do("GET", "/v2/stats/self", "")
	pattern := `^\{"name":"m1","id":"2ee3bf4adcf59b4","state":"StateLeader","startTime":"[^"]+","leaderInfo":\{"leader":"2ee3bf4adcf59b4","uptime":"[0-9.µm]+s","startTime":"[^"]+"\},` +
		`"recvAppendRequestCnt":0,"sendAppendRequestCnt":420,"sendPkgRate":11.5\}$`
	if !regexp.MustCompile(pattern).MatchString(self.body) {
		t.Errorf("S3: %s", self.body)
	}
	s.wants("GET", "/v2/stats/leader", "", 200, `{"leader":"2ee3bf4adcf59b4","followers":{"8b619152221f0265":{"latency":{"current":0.086,"average":0,"standardDeviation":0,"minimum":0,"maximum":1000},"counts":{"fail":0,"success":206}}}}`)
	s.do("PUT", "/v2/keys/k", "value=1")
	s.do("PUT", "/v2/keys/k?prevValue=x", "value=1")
	s.do("GET", "/v2/keys/none", "")
	s.wants("GET", "/v2/stats/store", "", 200, `{"getsSuccess":0,"getsFail":1,"setsSuccess":1,"setsFail":0,"deleteSuccess":0,"deleteFail":0,"updateSuccess":0,"updateFail":0,"createSuccess":0,"createFail":0,"compareAndSwapSuccess":0,"compareAndSwapFail":1,"compareAndDeleteSuccess":0,"compareAndDeleteFail":0,"expireCount":0,"watchers":0}`)
}

func TestDebugVars(t *testing.T) {
	s := newSite(t, Options{CommandLine: []string{"canopy", "--name=<m>"}, FileLimit: 1024}, httpserver.Options{})
	a := s.do("GET", "/debug/vars", "")
	var vars map[string]any
	if err := json.Unmarshal([]byte(a.body), &vars); err != nil || len(vars) != 4 {
		t.Fatalf("S33: %v: %s", err, a.body)
	}
	for _, part := range []string{"{\n\"cmdline\": [", `"progress":{"2ee3bf4adcf59b4":{"match":0,"next":1,"state":"ProgressStateReplicate"}}`, ",\n\"file_descriptor_limit\": 1024,\n\"memstats\": {", ",\n\"raft.status\": {\"id\":\"2ee3bf4adcf59b4\",\"term\":2,", "}\n}\n"} {
		if !strings.Contains(a.body, part) {
			t.Errorf("S34: no %q in %.300s", part, a.body)
		}
	}
}

func TestPprofNeedsItsFlag(t *testing.T) {
	s := newSite(t, Options{PprofEnabled: true}, httpserver.Options{})
	for _, path := range []string{"", "/", "/heap", "/goroutine", "/cmdline", "/symbol", "/allocs", "/mutex"} {
		if a := s.do("GET", "/debug/pprof"+path, ""); a.status != 200 {
			t.Errorf("S36: /debug/pprof%s = %d", path, a.status)
		}
	}
}

func TestLogLevels(t *testing.T) {
	var set []string
	s := newSite(t, Options{SetLogLevel: func(name string) error {
		if name == "trace" {
			return errors.New("no such level")
		}
		set = append(set, name)
		return nil
	}}, httpserver.Options{})
	for _, name := range []string{"CRITICAL", "e", "WARN", "warning", "Notice", "I", "4"} {
		if a := s.send("PUT", "/config/local/log", http.Header{}, strings.NewReader(`{"level":"`+name+`"}`)); a.status != 204 || a.body != "" {
			t.Errorf("S37: %s = %d %s", name, a.status, a.body)
		}
	}
	if got, want := strings.Join(set, " "), "fatal error warning warning info info debug"; got != want {
		t.Errorf("S37: set %s, want %s", got, want)
	}
	for body, message := range map[string]string{
		`{"Level":"warn7"}`: `{"message":"Invalid log level warn7"}`,
		`{"Level":"TRACE"}`: `{"message":"Invalid log level TRACE"}`,
		`{}`:                `{"message":"Invalid log level "}`,
		`level`:             `{"message":"Invalid json body"}`,
		``:                  `{"message":"Invalid json body"}`,
		`{"Level":"` + strings.Repeat("x", 1<<20) + `"}`: `{"message":"Invalid json body"}`,
	} {
		if a := s.send("PUT", "/config/local/log", http.Header{}, strings.NewReader(body)); a.status != 400 || a.body != message {
			t.Errorf("S37: %.40s = %d %s, want 400 %s", body, a.status, a.body, message)
		}
	}
}

func TestMetricsHaveTheNamesOfBothReleases(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newSoloMember(store.Options{})
	set := metrics.New(registry)
	registry.MustRegister(metrics.NewCollector(m, "1.2.3"))
	s := newSiteOf(t, m, Options{Metrics: set, Gatherer: registry}, httpserver.Options{})
	s.do("PUT", "/v2/keys/k", "value=1")
	s.do("GET", "/v2/keys/k?recursive=true&quorum=true", "")
	s.do("GET", "/v2/keys/none%ff", "")
	s.send("PUT", "/v2/keys/k", http.Header{"Origin": {"http://evil.example"}}, nil)
	s.open("/v2/keys/k?wait=true")
	set.Synced(3 * time.Millisecond)
	set.Applied(time.Second)
	set.ProposalFailed()
	text := s.do("POST", "/metrics", "").body // any method
	for _, line := range []string{
		`etcd_http_received_total{method="PUT"} 1`, `etcd_http_received_total{method="QGET"} 1`, `etcd_http_received_total{method="GET"} 1`,
		`etcd_http_failed_total{code="404",method="GET"} 1`, `etcd_http_successful_duration_second_count{method="PUT"} 1`,
		`etcd_http_successful_duration_second_bucket{method="PUT",le="2.048"} 1`,
		`etcd_store_reads_total{action="getRecursive"} 1`, `etcd_store_reads_failed_total{action="get"} 1`,
		`etcd_store_writes_total{action="set"} 1`, `etcd_store_watch_requests_total 1`, `etcd_store_watchers 1`,
		`etcd_wal_fsync_durations_seconds_bucket{le="0.004"} 1`, `etcd_disk_wal_fsync_duration_seconds_count 1`,
		`etcd_server_slow_apply_total 1`, `etcd_server_proposal_failed_total 1`, `etcd_server_proposals_failed_total 1`,
		`etcd_server_has_leader 1`, `etcd_server_is_leader 1`, `etcd_server_version{server_version="1.2.3"} 1`,
		`etcd_server_proposals_applied_total 5`, `canopy_http_refused_total{reason="origin"} 1`, `canopy_store_index 4`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("S27, S31: no %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
