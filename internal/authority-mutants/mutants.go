package main

// mutant is a way to break the rule: in each edit, what stands exactly once in the file
// is replaced.
type mutant struct {
	name  string
	edits []edit
}

type edit struct{ file, old, new string }

// inEval and the like are for mutants of one edit.
func inEval(name, old, new string) mutant    { return mutant{name, []edit{{"eval.go", old, new}}} }
func inGraph(name, old, new string) mutant   { return mutant{name, []edit{{"graph.go", old, new}}} }
func inMessage(name, old, new string) mutant { return mutant{name, []edit{{"message.go", old, new}}} }
func inRank(name, old, new string) mutant    { return mutant{name, []edit{{"rank.go", old, new}}} }
func inPast(name, old, new string) mutant    { return mutant{name, []edit{{"past.go", old, new}}} }

func mutants() []mutant {
	var all []mutant
	for _, some := range [][]mutant{denialMutants(), banMutants(), leaveMutants(), revokeMutants(), staticMutants(), messageMutants(), stateMutants()} {
		all = append(all, some...)
	}
	return all
}

const (
	actBySenior  = "case g.nodes[d].rank >= rank:"
	liveBySenior = "if g.nodes[d].rank < rank && !(g.Sees(grant, d) && s.regranted(grant, d)) {"
)

func denialMutants() []mutant {
	return []mutant{
		{"equals may deny each other", []edit{
			{"eval.go", actBySenior, "case g.nodes[d].rank > rank:"},
			{"eval.go", liveBySenior, "if g.nodes[d].rank <= rank && !(g.Sees(grant, d) && s.regranted(grant, d)) {"},
		}},
		{"anybody may deny anybody", []edit{
			{"eval.go", actBySenior, "case false:"},
			{"eval.go", liveBySenior, "if !(g.Sees(grant, d) && s.regranted(grant, d)) {"},
		}},
		inEval("between equals a number decides, as a hash would", liveBySenior,
			"if (g.nodes[d].rank < rank || g.nodes[d].rank == rank && d%2 == 0) && !(g.Sees(grant, d) && s.regranted(grant, d)) {"),
		inEval("between equals who comes first decides, as a clock would", liveBySenior,
			"if (g.nodes[d].rank < rank || g.nodes[d].rank == rank && !slices.ContainsFunc(g.byIdentity[who], func(e int32) bool { return e < d && g.nodes[e].Op.denies() })) && !(g.Sees(grant, d) && s.regranted(grant, d)) {"),
		inEval("a cut spares nothing", "case !g.spared(e, g.nodes[d].Cut):", "case e >= 0:"),
		inEval("a cut spares everything", "case !g.spared(e, g.nodes[d].Cut):", "case e < 0:"),
		inGraph("a cut is by number", "if g.nodes[end].branch == g.nodes[e].branch {", "if g.nodes[end].Dev == g.nodes[e].Dev {"),
		inGraph("a cut spares what is before it only", "for end != None && g.nodes[end].seq >= g.nodes[e].seq {", "for end != None && g.nodes[end].seq > g.nodes[e].seq {"),
		inGraph("a cut spares one more", "for end != None && g.nodes[end].seq >= g.nodes[e].seq {", "for end != None && g.nodes[end].seq+1 >= g.nodes[e].seq {"),
		inGraph("a cut ends at a fork", "end = g.branches[g.nodes[end].branch].from", "end = None"),
		inEval("a grant need not have seen the removal", liveBySenior, "if g.nodes[d].rank < rank && !s.regranted(grant, d) {"),
		inEval("acts outlive a removal", actBySenior, "case g.nodes[d].rank >= 0:"),
		inEval("acts count under grants that do not", "s.counts[n.Auth] && s.against(n.Auth, i) == None", "s.against(n.Auth, i) == None"),
		inEval("juniors are judged first", "for _, r := range s.g.ranks {", "for _, r := range slices.Backward(s.g.ranks) {"),
		inEval("the most junior rank counts", "best = min(best, s.g.Granted(i))", "best = s.g.Granted(i)"),
	}
}

const lifts = "return g.Sees(u, d) && g.Sees(grant, u) && g.nodes[u].rank <= g.nodes[d].rank"

func banMutants() []mutant {
	return []mutant{
		inEval("a ban is a remove", "return g.nodes[d].Op == Remove ||", "return g.nodes[d].Op.denies() ||"),
		inEval("a remove is a ban", "return g.nodes[d].Op == Remove ||", "return"),
		inEval("an equal's grant does not do without an unban", "g.nodes[grant].rank <= g.nodes[d].rank ||", "g.nodes[grant].rank < g.nodes[d].rank ||"),
		inEval("anybody may lift a ban", lifts, "return g.Sees(u, d) && g.Sees(grant, u)"),
		inEval("only seniors may lift a ban", lifts, "return g.Sees(u, d) && g.Sees(grant, u) && g.nodes[u].rank < g.nodes[d].rank"),
		inEval("a lifting need not have seen the ban", lifts, "return g.Sees(grant, u) && g.nodes[u].rank <= g.nodes[d].rank"),
		inEval("a grant need not have seen the lifting", lifts, "return g.Sees(u, d) && g.nodes[u].rank <= g.nodes[d].rank"),
		inEval("nobody can lift a ban", lifts, "return false && u == d"),
	}
}

const (
	leftAct  = "if g.nodes[l].rank <= rank && !g.Sees(grant, l) && g.Sees(e, l) {"
	leftLive = "if g.nodes[l].rank <= rank && !g.Sees(grant, l) {"
)

func leaveMutants() []mutant {
	return []mutant{
		inEval("a leave ends power by itself", leftAct, "if g.nodes[l].rank <= rank && !g.Sees(grant, l) {"),
		inEval("who has left may act", leftAct, "if l < 0 {"),
		inEval("who has left stays", leftLive, "if l < 0 {"),
		inEval("nobody rejoins", leftLive, "if g.nodes[l].rank <= rank {"),
		inEval("who has rejoined may not act", leftAct, "if g.nodes[l].rank <= rank && g.Sees(e, l) {"),
		inEval("a leave ends senior places", leftLive, "if !g.Sees(grant, l) {"),
		{"a leave counts after its rank only", []edit{
			{"eval.go", "if s.counts[i] && s.g.nodes[i].Op == Leave {", "if i < 0 {"},
			{"eval.go", "if s.counts[i] && s.g.nodes[i].Op != Leave {", "if s.counts[i] {"},
		}},
	}
}

const replaces = "replaced = replaced || g.nodes[d].rank <= Admin"

func revokeMutants() []mutant {
	return []mutant{
		inEval("a revocation is ignored", "if !replaced {", "if len(s.counts) == 0 {"),
		inEval("a denial does not take a revocation's place", replaces, "replaced = false"),
		inEval("anybody's denial takes a revocation's place", replaces, "replaced = true"),
		inEval("the last revocation decides", "for _, r := range s.revokes[g.nodes[e].Dev] {", "for _, r := range s.revokes[g.nodes[e].Dev][max(0, len(s.revokes[g.nodes[e].Dev])-1):] {"),
		inEval("anybody revokes any device", "if g.nodes[r].By == who && !g.spared(e, g.nodes[r].Cut) {", "if !g.spared(e, g.nodes[r].Cut) {"),
		inEval("a revocation is judged like any act", "return i == 0 || n.Op == Revoke || s.counts", "return i == 0 || s.counts"),
	}
}

func staticMutants() []mutant {
	return []mutant{
		inGraph("a grant is anybody's", "case auth.Op == Grant && auth.Target == n.By:", "case auth.Op == Grant:"),
		inGraph("the genesis is anybody's", "case auth.Op == Genesis && slices.Contains(g.founders, n.By):", "case auth.Op == Genesis:"),
		inGraph("a grant need not have been seen", "if n.Auth < 0 || !n.down.Has(n.Auth) {", "if n.Auth < 0 {"),
		inGraph("the rank is the granter's", "n.rank = auth.Rank", "n.rank = auth.rank + 1"),
		inGraph("the own rank may be granted", "n.Rank <= n.rank ||", "n.Rank < n.rank ||"),
		inGraph("any number is a rank", "(n.Rank <= n.rank || n.Rank > Relay)", "n.Rank <= n.rank"),
		inGraph("one may be one's own target", "if n.Op.targets() && n.Target == n.By {", "if n.Op == Unban && n.Target == n.By {"),
		inGraph("a cut may name another's acts", "n.Op != Revoke && g.nodes[c].By != n.Target", "false"),
		inGraph("a cut may name what was not seen", "case c < 0 || !n.down.Has(c):", "case c < 0:"),
		inGraph("a member's chain is one longer", "n.seq > MaxMemberChain && ", "n.seq > MaxMemberChain+1 && "),
		inGraph("a member's chain has no end", "if n.rank >= Member &&", "if n.rank > Member &&"),
		inGraph("prev may be another's", "(g.nodes[n.Prev].Dev != n.Dev || g.nodes[n.Prev].By != n.By)", "n.seq == 0"),
		inRank("greeters remove", "case Remove, Ban, Unban, Mute, Unmute:\n\t\treturn Moderator", "case Remove, Ban, Unban, Mute, Unmute:\n\t\treturn Greeter"),
		inRank("members admit", "case Grant:\n\t\treturn Greeter", "case Grant:\n\t\treturn Member"),
	}
}

func messageMutants() []mutant {
	const unmutes = "if g.nodes[u].rank <= g.nodes[d].rank && g.Sees(u, d) && m.Past.Has(u) {"
	return []mutant{
		{"a mute is on all acts", []edit{
			{"eval.go", "case Remove, Ban:\n\t\ts.denials", "case Remove, Ban, Mute:\n\t\ts.denials"},
			{"eval.go", "case Mute:\n", "case Genesis:\n"},
		}},
		inMessage("to be heard again needs a new grant", unmutes, "if u < 0 {"),
		inMessage("an unmute is for old messages, too", unmutes, "if g.nodes[u].rank <= g.nodes[d].rank && g.Sees(u, d) {"),
		inMessage("an unmute need not have seen the mute", unmutes, "if g.nodes[u].rank <= g.nodes[d].rank && m.Past.Has(u) {"),
		inMessage("anybody may unmute", unmutes, "if g.Sees(u, d) && m.Past.Has(u) {"),
		inMessage("equals mute each other", "if g.nodes[d].rank < rank && !s.unmuted(d, m) {", "if g.nodes[d].rank <= rank && !s.unmuted(d, m) {"),
		inMessage("a mute has no cut", "return m.Spared(d)", "return false"),
		inMessage("a removal has no cut for messages", "case !m.Spared(d):", "case d >= 0:"),
		inMessage("a removal leaves messages alone", "case !m.Spared(d):", "case d < 0:"),
		inMessage("a message may rest on a grant without effect", "if !s.Counts(grant) || !m.Past.Has(grant)", "if !m.Past.Has(grant)"),
		inMessage("a message may rest on a grant it has not seen", "if !s.Counts(grant) || !m.Past.Has(grant)", "if !s.Counts(grant)"),
		inMessage("relays speak", "min(right.Rank, Relay)", "right.Rank"),
		inMessage("who left speaks on", "if g.nodes[l].rank <= rank && !g.Sees(grant, l) && m.Past.Has(l) {", "if l < 0 {"),
		inMessage("a revoked device speaks on", "if g.nodes[r].By == m.By && !m.Spared(r) {", "if r < 0 {"),
		inMessage("a place as relay is one to speak from", "if rank >= Relay {", "if rank > Relay {"),
	}
}

func stateMutants() []mutant {
	return []mutant{
		inEval("an older state is never looked at again", "if counts && s.disturbs(i) {", "if counts && i < 0 && s.disturbs(i) {"),
		inEval("a late revocation disturbs nothing", "return slices.ContainsFunc(g.byDevice[n.Target], func(e int32) bool { return e < i && !g.spared(e, n.Cut) })", "return false"),
		inEval("a cut in place of a revocation's disturbs nothing", "(!g.spared(e, n.Cut) || n.rank <= Admin && len(s.revokes[g.nodes[e].Dev]) > 0)", "!g.spared(e, n.Cut)"),
		inEval("a part is judged by what it did not see", "if within != nil && !within.Has(i) {", "if i < 0 {"),
		inPast("a union of pasts loses some", "sum[i] |= w", "sum[i] = w"),
		inPast("a union of pasts is the first", "if !less {", "if less {"),
		inPast("adding to a past forgets the rest of a leaf", "l = *old", "_ = old"),
	}
}
