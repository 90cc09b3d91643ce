package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// source is one hand-written Go file of the project.
type source struct {
	file string // from the root of the project
	dir  string
	set  *token.FileSet
	ast  *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".pb.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		all = append(all, source{rel, path.Dir(rel), set, file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d files were found", len(all))
	}
	return all
}

func (s source) isTest() bool { return strings.HasSuffix(s.file, "_test.go") }

func (s source) line(p token.Pos) int { return s.set.Position(p).Line }

func (s source) lines() int { return s.line(s.ast.FileEnd) }

func (s source) imports(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, i := range s.ast.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

// mayImport lists which packages of the project a package may import. Packages
// that are not listed may import none.
var mayImport = map[string][]string{
	".":                         {"canopy/bootstrap", "canopy/config", "canopy/ctl", "canopy/ctl/words", "canopy/discovery", "canopy/discovery/service", "canopy/etcdserver", "canopy/etcdserver/api", "canopy/etcdserver/api/cluster", "canopy/etcdserver/metrics", "canopy/internal/audit", "canopy/internal/certificates", "canopy/internal/httpserver", "canopy/internal/memory", "canopy/internal/middleware", "canopy/internal/ports", "canopy/internal/process", "canopy/internal/redact", "canopy/internal/tlsconf", "canopy/internal/tuning", "canopy/migration/command", "canopy/proxy", "canopy/proxy/upstream", "canopy/rafthttp", "canopy/store"},
	"bootstrap":                 {"canopy/client", "canopy/config", "canopy/discovery", "canopy/etcdserver/firststart", "canopy/etcdserver/replica", "canopy/internal/disk", "canopy/rafthttp", "canopy/wal"},
	"config":                    {"canopy/config/value", "canopy/internal/redact"},
	"config/value":              {"canopy/internal/redact"},
	"internal/redact":           {},
	"raft":                      {"canopy/raft/assert", "canopy/raft/follower", "canopy/raft/membership", "canopy/raft/quorum", "canopy/raft/raftlog"},
	"raft/follower":             {"canopy/raft/membership", "canopy/raft/raftlog"},
	"raft/membership":           {"canopy/raft/raftlog"},
	"raft/raftlog":              {"canopy/raft/assert"},
	"raft/assert":               {},
	"raft/quorum":               {},
	"raft/rafttest":             {"canopy/raft"},
	"store":                     {"canopy/store/nodejson", "canopy/store/storepb", "canopy/store/tree", "canopy/store/watch"},
	"store/nodejson":            {"canopy/store/tree"},
	"store/tree":                {},
	"store/watch":               {"canopy/store/nodejson", "canopy/store/tree"},
	"store/storepb":             {},
	"internal/disk":             {},
	"internal/memory":           {},
	"internal/process":          {"canopy/config", "canopy/internal/disk", "canopy/internal/lasting", "canopy/internal/memory", "canopy/internal/middleware", "canopy/internal/redact"},
	"internal/ports":            {"canopy/config", "canopy/config/value", "canopy/etcdserver", "canopy/etcdserver/metrics", "canopy/internal/certificates", "canopy/internal/httpserver", "canopy/internal/httpserver/http1", "canopy/internal/memory", "canopy/internal/middleware", "canopy/internal/tlsconf"},
	"internal/audit":            {"canopy/internal/middleware"},
	"internal/tuning":           {},
	"internal/tlsconf":          {},
	"internal/certificates":     {"canopy/config", "canopy/config/value", "canopy/internal/tlsconf"},
	"internal/tlsconf/certtest": {},
	"internal/lasting":          {},
	"wal":                       {"canopy/internal/disk"},
	"snap":                      {"canopy/internal/disk"},
	"rafthttp":                  {"canopy/internal/lasting", "canopy/raft", "canopy/rafthttp/wire"},
	"rafthttp/wire":             {"canopy/raft", "canopy/rafthttp/rafthttppb"},
	"rafthttp/wire/wiretest":    {"canopy/raft"},
	"rafthttp/rafthttppb":       {},
	"etcdserver":                {"canopy/etcdserver/applier", "canopy/etcdserver/auth", "canopy/etcdserver/consistency", "canopy/etcdserver/datadir", "canopy/etcdserver/etcdserverpb", "canopy/etcdserver/firststart", "canopy/etcdserver/logclock", "canopy/etcdserver/logwriter", "canopy/etcdserver/memberlog", "canopy/etcdserver/outcome", "canopy/etcdserver/peerlist", "canopy/etcdserver/pending", "canopy/etcdserver/raftloop", "canopy/etcdserver/replica", "canopy/etcdserver/snapshotter", "canopy/etcdserver/transfer", "canopy/internal/disk", "canopy/internal/lasting", "canopy/raft", "canopy/rafthttp", "canopy/store", "canopy/store/watch", "canopy/wal"},
	"etcdserver/applier":        {"canopy/etcdserver/auth", "canopy/etcdserver/consistency", "canopy/etcdserver/inbox", "canopy/etcdserver/logclock", "canopy/etcdserver/outcome", "canopy/etcdserver/pending", "canopy/etcdserver/replica", "canopy/etcdserver/snapshotter", "canopy/raft", "canopy/store"},
	"etcdserver/auth":           {},
	"etcdserver/consistency":    {"canopy/etcdserver/replica", "canopy/raft"},
	"etcdserver/firststart":     {"canopy/etcdserver/datadir", "canopy/etcdserver/replica", "canopy/internal/lasting"},
	"etcdserver/inbox":          {},
	"etcdserver/logclock":       {"canopy/store"},
	"etcdserver/logwriter":      {"canopy/etcdserver/datadir", "canopy/etcdserver/etcdserverpb", "canopy/etcdserver/outcome", "canopy/internal/disk", "canopy/raft", "canopy/wal"},
	"etcdserver/memberlog":      {"canopy/etcdserver/auth", "canopy/etcdserver/consistency", "canopy/etcdserver/replica", "canopy/raft"},
	"etcdserver/outcome":        {"canopy/etcdserver/auth", "canopy/store", "canopy/store/watch"},
	"etcdserver/peerlist":       {"canopy/etcdserver/etcdserverpb", "canopy/etcdserver/replica", "canopy/raft", "canopy/rafthttp"},
	"etcdserver/pending":        {"canopy/etcdserver/etcdserverpb", "canopy/etcdserver/outcome", "canopy/etcdserver/replica", "canopy/raft", "canopy/store"},
	"etcdserver/raftloop":       {"canopy/etcdserver/applier", "canopy/etcdserver/datadir", "canopy/etcdserver/etcdserverpb", "canopy/etcdserver/inbox", "canopy/etcdserver/logclock", "canopy/etcdserver/logwriter", "canopy/etcdserver/outcome", "canopy/etcdserver/pending", "canopy/etcdserver/replica", "canopy/raft", "canopy/store"},
	"etcdserver/transfer":       {"canopy/etcdserver/applier", "canopy/etcdserver/datadir", "canopy/etcdserver/inbox", "canopy/etcdserver/logwriter", "canopy/etcdserver/raftloop", "canopy/etcdserver/replica", "canopy/etcdserver/snapshotter", "canopy/internal/lasting", "canopy/raft", "canopy/snap", "canopy/store"},
	"etcdserver/snapshotter":    {"canopy/etcdserver/datadir", "canopy/etcdserver/logwriter", "canopy/etcdserver/replica", "canopy/internal/disk", "canopy/raft", "canopy/snap"},
	"etcdserver/replica":        {"canopy/etcdserver/auth", "canopy/etcdserver/etcdserverpb", "canopy/raft", "canopy/store", "canopy/store/watch"},
	"etcdserver/datadir":        {"canopy/etcdserver/etcdserverpb", "canopy/etcdserver/replica", "canopy/internal/disk", "canopy/raft", "canopy/snap", "canopy/store", "canopy/wal"},
	"etcdserver/etcdserverpb":   {},
	"etcdserver/metrics":        {"canopy/etcdserver", "canopy/raft", "canopy/rafthttp", "canopy/store"},
	"etcdserver/api/accounts":   {"canopy/etcdserver", "canopy/etcdserver/auth", "canopy/etcdserver/login", "canopy/etcdserver/metrics", "canopy/internal/audit", "canopy/store"},
	"etcdserver/login":          {"canopy/etcdserver/auth"},
	"etcdserver/api/form":       {"canopy/store"},
	"etcdserver/api/answer":     {"canopy/etcdserver", "canopy/internal/memory", "canopy/store"},
	"etcdserver/api/cluster":    {"canopy/etcdserver", "canopy/etcdserver/api/answer", "canopy/etcdserver/metrics", "canopy/internal/middleware", "canopy/store"},
	"etcdserver/api/backup":     {"canopy/etcdserver", "canopy/etcdserver/api/answer", "canopy/internal/memory", "canopy/migration/archive", "canopy/store"},
	"etcdserver/api":            {"canopy/etcdserver", "canopy/etcdserver/api/accounts", "canopy/etcdserver/api/answer", "canopy/etcdserver/api/backup", "canopy/etcdserver/api/cluster", "canopy/etcdserver/login", "canopy/etcdserver/api/form", "canopy/etcdserver/auth", "canopy/etcdserver/metrics", "canopy/internal/audit", "canopy/internal/httpserver/hijack", "canopy/internal/memory", "canopy/internal/middleware", "canopy/store", "canopy/store/nodejson", "canopy/store/watch"},
	"discovery":                 {"canopy/client", "canopy/config/value", "canopy/internal/disk", "canopy/internal/lasting"},
	"discovery/dnstest":         {},
	"discovery/service":         {"canopy/client", "canopy/discovery", "canopy/etcdserver", "canopy/etcdserver/api", "canopy/etcdserver/firststart", "canopy/internal/disk", "canopy/internal/httpserver", "canopy/internal/memory", "canopy/rafthttp"},
	"client":                    {},
	"client/lock":               {"canopy/client"},
	"client/election":           {"canopy/client", "canopy/client/lock"},
	"ctl":                       {"canopy/client", "canopy/ctl/command", "canopy/ctl/held", "canopy/ctl/live", "canopy/ctl/load", "canopy/ctl/manual", "canopy/ctl/prompt", "canopy/ctl/shell", "canopy/ctl/subtree", "canopy/ctl/words"},
	"ctl/live":                  {"canopy/client", "canopy/ctl/command"},
	"ctl/load":                  {"canopy/client", "canopy/ctl/command"},
	"ctl/manual":                {"canopy/ctl/command"},
	"ctl/prompt":                {"canopy/ctl/command"},
	"ctl/shell":                 {"canopy/ctl/command"},
	"ctl/words":                 {},
	"ctl/command":               {"canopy/client"},
	"ctl/held":                  {"canopy/client", "canopy/client/election", "canopy/client/lock", "canopy/ctl/command"},
	"ctl/subtree":               {"canopy/client", "canopy/ctl/command"},
	"migration":                 {"canopy/etcdserver/auth", "canopy/etcdserver/replica", "canopy/migration/etcd04", "canopy/migration/etcddir", "canopy/migration/etcdtree", "canopy/migration/report", "canopy/raft", "canopy/store"},
	"migration/archive":         {"canopy/etcdserver/replica", "canopy/migration/report"},
	"migration/command":         {"canopy/client", "canopy/ctl", "canopy/etcdserver/replica", "canopy/migration", "canopy/migration/archive", "canopy/migration/live", "canopy/migration/report", "canopy/migration/restore"},
	"migration/etcd04":          {"canopy/migration/etcdtree", "canopy/migration/report"},
	"migration/etcddir":         {"canopy/migration/etcdtree", "canopy/migration/etcdwal", "canopy/migration/report"},
	"migration/etcdtree":        {"canopy/etcdserver/auth", "canopy/store", "canopy/store/tree", "canopy/store/watch"},
	"migration/etcdwal":         {"canopy/migration/etcdtree"},
	"migration/live":            {"canopy/client", "canopy/etcdserver/replica", "canopy/migration/archive", "canopy/migration/etcddir", "canopy/migration/text", "canopy/store", "canopy/store/tree"},
	"migration/text":            {"canopy/store"},
	"migration/report":          {},
	"migration/restore":         {"canopy/config", "canopy/config/value", "canopy/etcdserver/datadir", "canopy/etcdserver/etcdserverpb", "canopy/etcdserver/firststart", "canopy/etcdserver/replica", "canopy/internal/disk", "canopy/migration/archive", "canopy/snap", "canopy/wal"},
	"client/membertest":         {"canopy/etcdserver", "canopy/etcdserver/api", "canopy/etcdserver/api/cluster", "canopy/internal/disk", "canopy/internal/httpserver", "canopy/rafthttp", "canopy/store"},
	"proxy":                     {"canopy/internal/httpserver/hijack", "canopy/internal/memory", "canopy/internal/middleware", "canopy/proxy/upstream"},
	"proxy/upstream":            {"canopy/client", "canopy/internal/disk", "canopy/internal/lasting", "canopy/rafthttp"},
	"proxy/clustertest":         {},
	"bench":                     {"canopy/internal/tlsconf"},
	"internal/mutation":         {},

	"internal/httpserver":        {"canopy/internal/httpserver/http1", "canopy/internal/memory"},
	"internal/httpserver/http1":  {},
	"internal/httpserver/hijack": {},
	"internal/middleware":        {},
}

func TestImportsFollowTheArrows(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		allowed := mayImport[s.dir]
		for _, p := range s.imports(t) {
			if strings.HasPrefix(p, "canopy/") && !slices.Contains(allowed, p) {
				t.Errorf("%s imports %s: imports run downward only (docs/architecture.md); what a package may import is listed in mayImport", s.file, p)
			}
		}
	}
	for dir, allowed := range mayImport {
		for _, p := range append([]string{"canopy/" + dir}, allowed...) {
			if _, err := os.Stat(filepath.Join(root, strings.TrimPrefix(p, "canopy/"))); err != nil {
				t.Errorf("mayImport[%q]: %v", dir, err)
			}
		}
	}
}

// pure packages do no I/O: what is notPure is handed in.
var pure = []string{"etcdserver/api/form", "etcdserver/auth", "etcdserver/replica", "migration/etcdtree", "raft", "raft/assert", "raft/follower", "raft/membership", "raft/quorum", "raft/raftlog", "store", "store/nodejson", "store/tree", "store/watch"}

var notPure = []string{"os", "net", "net/http", "log", "math/rand", "math/rand/v2", "crypto/rand", "github.com/sirupsen/logrus"}

func TestTheMachinesArePure(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || !slices.Contains(pure, s.dir) {
			continue
		}
		for _, p := range s.imports(t) {
			if slices.Contains(notPure, p) {
				t.Errorf("%s imports %s: have it handed in", s.file, p)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s:%d starts a goroutine: leave that to the caller", s.file, s.line(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Sleep", "NewTimer", "NewTicker"}, n.Sel.Name) {
					t.Errorf("%s:%d reads a clock: take the time as an argument", s.file, s.line(n.Pos()))
				}
			}
			return true
		})
	}
}

// TestTimesAreMonotonic: a number of nanoseconds from the wall clock must not be compared with another one, since an operator
// may set the clock. Package etcdserver makes IDs, names and log time of it, and package migration reads deadlines from files.
func TestTimesAreMonotonic(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.dir, "etcdserver") || strings.HasPrefix(s.dir, "migration") {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"UnixNano", "UnixMicro", "UnixMilli"}, sel.Sel.Name) {
				t.Errorf("%s:%d takes the time of the wall clock as a number: keep a time.Time, or the time since a time.Time", s.file, s.line(sel.Pos()))
			}
			return true
		})
	}
}

// rootLines bounds the root package: it connects the others, and what it does
// beyond that belongs in a package of its own.
const rootLines = 700

func TestTheRootPackageIsSmall(t *testing.T) {
	lines := 0
	for _, s := range sources(t) {
		if s.dir == "." && !s.isTest() {
			lines += s.lines()
		}
	}
	if lines == 0 || lines >= rootLines {
		t.Errorf("the root package has %d lines, less than %d are allowed: move what a command does to a package", lines, rootLines)
	}
}

// packageLines bounds a package without its tests and generated code, so that it can be read as a whole.
const packageLines = 2500

func TestPackagesAreSmall(t *testing.T) {
	lines := map[string]int{}
	for _, s := range sources(t) {
		if !s.isTest() {
			lines[s.dir] += s.lines()
		}
	}
	for dir, n := range lines {
		if n > packageLines {
			t.Errorf("%s has %d lines, at most %d are allowed: look for a second noun in it", dir, n, packageLines)
		}
	}
}

const functionLines = 70

func TestFunctionsFitAScreen(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.isTest() {
				continue
			}
			if lines := s.line(f.End()) - s.line(f.Pos()) + 1; lines > functionLines {
				t.Errorf("%s:%d: %s has %d lines, at most %d: leaves compute, the branches stay here", s.file, s.line(f.Pos()), f.Name.Name, lines, functionLines)
			}
			if f.Name.Name == "init" && f.Recv == nil {
				t.Errorf("%s:%d: init: have a constructor do it", s.file, s.line(f.Pos()))
			}
		}
	}
}

func TestWhatIsExportedIsDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedReceiver(d.Recv)) {
					t.Errorf("%s:%d: %s has no comment", s.file, s.line(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if n, ok := spec.(*ast.TypeSpec); ok && n.Name.IsExported() && d.Doc == nil && n.Doc == nil {
						t.Errorf("%s:%d: %s has no comment", s.file, s.line(n.Pos()), n.Name.Name)
					}
				}
			}
		}
	}
}

func exportedReceiver(list *ast.FieldList) bool {
	kind := list.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	name, ok := kind.(*ast.Ident)
	return ok && name.IsExported()
}
