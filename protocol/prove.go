package protocol

import "io"

// proveFrom is how many admissions make a batch worth its while.
const proveFrom = 4

// Prove checks the signatures that admissions carry (a certificate and a join proof, five
// in each) in one batch, for events that are about to be added: at a third of what
// [Set.Add] takes for them one by one. It decides nothing: an admission that it does not
// find good, or whose invite is not in the set yet, is checked by Add. What it found is
// remembered until it is called again.
func (s *Set) Prove(events []Verified, random io.Reader) {
	s.proved = make(map[ID]struct{})
	var batch sigBatch
	var ids []ID
	for _, v := range events {
		if g, key := s.admission(v); g != nil {
			g.Cert.gather(&batch)
			g.Proof.gather(&batch, s.group, key, *g.Cert)
			ids = append(ids, v.id)
		}
	}
	if len(ids) < proveFrom {
		return
	}
	good := batch.verify(random)
	for i, id := range ids {
		all := true
		for _, ok := range good[5*i : 5*i+5] {
			all = all && ok
		}
		if all {
			s.proved[id] = struct{}{}
		}
	}
}

// admission returns the grant by which an event admits somebody, and the invite's key,
// or nil.
func (s *Set) admission(v Verified) (*Grant, Key) {
	if v.Header().Kind != KindGrant || v.group != s.group || s.Has(v.id) || !v.Whole() {
		return nil, Key{}
	}
	clear, err := ParseClear(v)
	g, ok := clear.(*Grant)
	if err != nil || !ok || g.Cert == nil || g.Proof == nil || checkKey(g.Cert.Root) != nil || checkKey(g.Cert.Dev) != nil {
		return nil, Key{}
	}
	if i, ok := s.index[g.Invite]; ok {
		if in, ok := s.nodes[i].clear.(*Invite); ok {
			return g, in.Key
		}
	}
	return nil, Key{}
}

func (c *Cert) gather(b *sigBatch) {
	b.add(c.Root, certPreimage(domainCertRoot, c.Root, c.Dev), c.RootSig)
	b.add(c.Dev, certPreimage(domainCertDev, c.Root, c.Dev), c.DevSig)
}

func (p *JoinProof) gather(b *sigBatch, group ID, invite Key, c Cert) {
	pre := joinPreimage(group, invite, c.Root, c.Dev, p.Nonce)
	b.add(c.Root, pre, p.RootSig)
	b.add(c.Dev, pre, p.DevSig)
	b.add(invite, pre, p.InviteSig)
}
