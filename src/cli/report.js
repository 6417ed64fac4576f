(function() {
var at = -1;
function all()
{
	var p = document.querySelectorAll('.i.p');
	return p.length ? p : document.querySelectorAll('.i')
}
function go(n)
{
	var l = all(), e, d, o;
	if (!l.length)
		return;
	at = Math.max(0, Math.min(l.length - 1, n));
	e = l[at];
	for (d = e.parentElement; d; d = d.parentElement)
		if (d.tagName === 'DETAILS')
			d.open = true;
	o = document.querySelector('.i.at');
	if (o)
		o.classList.remove('at');
	e.classList.add('at');
	e.scrollIntoView({ block : 'center' });
	d = e.querySelector('details');
	if (d)
		d.open = true
}
document.addEventListener('keydown', function(e) {
	var l, i, o;
	if (e.ctrlKey || e.metaKey || e.altKey)
		return;
	if (e.key === 'j')
		go(at + 1);
	else if (e.key === 'k')
		go(at - 1);
	else if (e.key === 'e') {
		l = all();
		for (i = 0; i < l.length; i++)
			if (l[i].classList.contains('x'))
				return go(i)
	} else if (e.key === 'c') {
		l = document.querySelectorAll('details.fn');
		o = !(l[0] && l[0].open);
		for (i = 0; i < l.length; i++)
			l[i].open = o
	} else if (e.key === 't')
		scrollTo(0, 0)
});
})();
