package e2e

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is a page of the manual, with blanks in the place of line breaks.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// Three members come back on other ports, and nobody can tell the cluster. With a list of where all are they find each other,
// bring the list of members up to date by themselves, and need the flag no more. The page on it quotes what they log.
func TestAllAddressesChange(t *testing.T) {
	t.Parallel()
	manual := page(t, "disaster-recovery.md")
	c := newCluster(t, 3)
	c.members[0].must(http.StatusCreated, http.MethodPut, "/v2/keys/k", "value=kept")
	ids := map[string]string{}
	for _, s := range c.members {
		ids[s.name] = c.id(s)
	}
	var list []string
	for _, s := range c.members {
		s.kill()
		s.client, s.peer = freeURL(t), freeURL(t)
		list = append(list, s.name+"="+s.peer)
	}
	list[0] = ids["m1"] + "=" + c.members[0].peer // by id
	for _, s := range c.members {
		s.flags = append(s.flags, "--force-peer-urls", strings.Join(list, ","))
		s.launch()
	}
	c.waitServing()
	const done, again = "the list of members has the peer URLs of --force-peer-urls now: remove the flag", "--force-peer-urls was carried out before, and has no effect"
	for _, line := range []string{done, again} {
		if !strings.Contains(manual, line) {
			t.Errorf("the page does not quote %q", line)
		}
	}
	for _, s := range c.members {
		s.waitLine(done)
		if c.id(s) != ids[s.name] {
			t.Errorf("%s has another id than before", s.name)
		}
		if a := s.must(http.StatusOK, http.MethodGet, "/v2/keys/k?quorum=true", ""); !strings.Contains(a.body, `"kept"`) {
			t.Errorf("%s has %s", s.name, a.body)
		}
	}
	for n, s := range c.members {
		s.kill()
		if n > 0 {
			s.flags = s.flags[:len(s.flags)-2] // the first one leaves the flag in place
		}
		s.launch()
	}
	c.waitServing()
	c.members[0].waitLine(again)
	c.members[1].must(http.StatusOK, http.MethodPut, "/v2/keys/k", "value=on")
	c.agree()
}

// The page on lost clusters has survivors compared by a line that each start logs, also a first one.
func TestThePageQuotesTheLineOfAStart(t *testing.T) {
	const line = "restarting member ID in cluster ID at commit index N, last entry M of term T"
	if !strings.Contains(page(t, "disaster-recovery.md"), line) {
		t.Fatalf("the page does not quote %q", line)
	}
	pattern := regexp.QuoteMeta(line)
	for _, replace := range [][2]string{{" ID ", " [0-9a-f]+ "}, {"N,", "[0-9]+,"}, {"M", "[0-9]+"}, {"T$", "[0-9]+"}, {"restarting", "(re)?starting"}} {
		pattern = strings.ReplaceAll(pattern, strings.TrimSuffix(replace[0], "$"), replace[1])
	}
	s := newServer(t)
	var said []string
	for range 2 {
		s.start()
		said = append(said, regexp.MustCompile(pattern).FindString(s.output.String()))
		s.must(statusOf(len(said)-1), http.MethodPut, "/v2/keys/k", "value=1")
		s.kill()
	}
	if !strings.HasPrefix(said[0], "starting ") || !strings.HasPrefix(said[1], "restarting ") || slices.Contains(said, "") {
		t.Errorf("two starts say %q, want lines like %q", said, line)
	}
}
