"""The look of the device page: rules of the safety report that it uses, and those for narrow screens and print."""

# Rules of safeml/report/static, line by line; a test compares them.
SHARED = """
:root{color-scheme:light dark;--bg:#f8f8f6;--surface:#fff;--sunken:#f1f2f0;--ink:#14171a;--ink2:#3f464d;--ink3:#5c646c;
--line:#e3e4e2;--line2:#bfc4c8;--data:#1f57a4;--band:#d6e2f2;--faint:#7d8894;--good:#eaf3f0;
--pass:#0a6656;--pass-bg:#e5f1ee;--fail:#b3231b;--fail-bg:#fcedeb;--unsure:#7f4f00;--unsure-bg:#fbf1dd;
--error:#6a39a3;--error-bg:#f2ecf9;--none:#5c646c;--none-bg:#f1f2f0;
--heat0:#fff;--heat1:#ebf1f9;--heat2:#d3e1f2;--heat3:#b3cbe8;--heat4:#8ab0db;--heat5:#3e72b5;--heat6:#2a60a3;--heat7:#123e75;
--heat-high:#fff}
@media screen and (prefers-color-scheme:dark){:root{--bg:#0f1215;--surface:#161a1e;--sunken:#1e2328;--ink:#eceef0;--ink2:#c0c6cc;--ink3:#98a1a9;
--line:#2a3036;--line2:#4a535c;--data:#86b4f7;--band:#203654;--faint:#77828d;--good:#17292a;
--pass:#5fcbb2;--pass-bg:#132b27;--fail:#ff948a;--fail-bg:#361b1a;--unsure:#edbb5a;--unsure-bg:#322711;
--error:#c6a6f3;--error-bg:#2a2140;--none:#98a1a9;--none-bg:#1e2328;
--heat0:#161a1e;--heat1:#1a2634;--heat2:#1f344e;--heat3:#26466e;--heat4:#2f5a90;--heat5:#5386c6;--heat6:#8db5ec;--heat7:#cfe1fa;
--heat-high:#0f1215}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:14px/22px system-ui,-apple-system,"Segoe UI",Inter,Roboto,"Noto Sans",sans-serif;
font-variant-numeric:tabular-nums lining-nums;overflow-wrap:anywhere}
.wrap{max-width:1168px;margin:0 auto;padding:0 24px 48px}
a{color:inherit;text-decoration-color:var(--line2);text-underline-offset:3px}
a:hover{text-decoration-color:currentColor}
a:focus-visible,summary:focus-visible{outline:2px solid var(--data);outline-offset:2px}
h1{font-size:28px;line-height:36px;font-weight:650;margin:32px 0 16px}
h2{font-size:18px;line-height:26px;font-weight:650;margin:48px 0 12px}
h3{font-size:14px;line-height:22px;font-weight:650;margin:0 0 4px}
h2 small,h3 small{font-size:13px;line-height:20px;font-weight:400;color:var(--ink3);margin-left:12px}
p{margin:0 0 8px}
ul{margin:0;padding-left:18px}
li{margin-bottom:4px}
code,pre,.id{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:12px}
.muted{color:var(--ink3)}
.sub{display:block;font-size:12px;line-height:18px;color:var(--ink3)}
.caption{font-size:12.5px;line-height:19px;color:var(--ink3);margin:8px 0 0;max-width:760px}
.panel{background:var(--surface);border:1px solid var(--line);border-radius:10px;padding:20px 24px}
.icon{width:16px;height:16px;flex:none;vertical-align:-3px}
.pass{color:var(--pass)}.fail{color:var(--fail)}.unsure{color:var(--unsure)}.error{color:var(--error)}.none{color:var(--none)}
.crumb{display:flex;flex-wrap:wrap;gap:0 10px;align-items:flex-start;padding:16px 0 12px;font-size:13px;line-height:20px;color:var(--ink3)}
.crumb b{color:var(--ink)}
.crumb .tag{margin-left:auto;border:1px solid var(--line2);border-radius:4px;padding:0 8px;font-size:12px}
.identity{display:grid;grid-template-columns:repeat(4,1fr);gap:16px 24px;margin:0 0 24px}
.identity dt,.facts dt{font-size:12px;line-height:18px;color:var(--ink3)}
.identity dd,.facts dd{margin:0;font-weight:600}
.identity .sub,.facts .sub{font-weight:400}
.verdict{display:grid;grid-template-columns:1fr 420px;gap:24px 32px;border-radius:10px;border:1px solid currentColor;padding:20px 24px}
.verdict>*{color:var(--ink)}
.verdict .word{display:flex;gap:12px;align-items:center;font-size:30px;line-height:36px;font-weight:700;margin:0 0 8px;text-transform:uppercase}
.verdict .word .icon{width:30px;height:30px}
.verdict .sentence{font-size:18px;line-height:27px;margin:0 0 8px}
.verdict .detail{color:var(--ink2);font-size:13px;line-height:20px;margin:0}
.verdict.v-pass{background:var(--pass-bg);border-color:var(--pass)}.verdict.v-fail{background:var(--fail-bg);border-color:var(--fail)}
.verdict.v-unsure{background:var(--unsure-bg);border-color:var(--unsure)}.verdict.v-error{background:var(--error-bg);border-color:var(--error)}
.verdict.v-none{background:var(--none-bg);border-color:var(--line2)}
.word.pass{color:var(--pass)}.word.fail{color:var(--fail)}.word.unsure{color:var(--unsure)}.word.error{color:var(--error)}.word.none{color:var(--none)}
.table{width:100%;border-collapse:collapse;font-size:13px;line-height:20px}
.table th{font-size:12px;line-height:18px;font-weight:400;color:var(--ink3);text-align:left;vertical-align:bottom;padding:10px 12px;border-bottom:1px solid var(--line2)}
.table th{overflow-wrap:normal}
.table td{padding:9px 12px;border-bottom:1px solid var(--line);vertical-align:top}
.table tr:last-child td{border-bottom:0}
.table .num{text-align:right;white-space:nowrap}
.table .whole{white-space:nowrap}
.table th.num{white-space:normal}
.table td:first-child,.table th:first-child{padding-left:24px}
.table td:last-child,.table th:last-child{padding-right:24px}
.tight{padding:0;overflow-x:auto}
.tight .table td,.tight .table th{min-width:56px}
.state{display:inline-flex;gap:6px;align-items:center;white-space:nowrap}
.two{display:grid;grid-template-columns:1fr 1fr;gap:24px}
.two>.panel,.figure>*{min-width:0}
.after{margin-top:24px}
.chart{display:block;max-width:100%;height:auto;font-size:11.5px}
.kv{display:grid;grid-template-columns:130px 1fr;gap:6px 16px;font-size:13px;line-height:20px;margin:0}
.kv dt{color:var(--ink3)}.kv dd{margin:0}
.foot{display:flex;flex-wrap:wrap;justify-content:space-between;gap:4px 24px;border-top:1px solid var(--line);margin-top:64px;padding-top:12px;font-size:12px;line-height:18px;color:var(--ink3)}
.chart text{font-size:11.5px;fill:var(--ink3)}
.chart text.value{fill:var(--ink2)}.chart text.strong{fill:var(--data);font-weight:650}.chart text.missing{font-style:italic;paint-order:stroke;stroke:var(--surface);stroke-width:4px}
.chart .grid{stroke:var(--line)}.chart .axis{stroke:var(--line2)}.chart .leader{stroke:var(--line2);stroke-width:.8}
.chart .dot,.chart .bar{fill:var(--data)}.chart .faint{fill:var(--faint)}
"""
OWN = """
@media (max-width:1000px){.verdict,.two{grid-template-columns:1fr}}
@media (max-width:699px){.wrap{padding:0 16px 32px}.identity{grid-template-columns:1fr 1fr}.panel{padding:16px}.tight{padding:0}.kv{grid-template-columns:1fr;gap:0}.kv dd{margin-bottom:8px}
.tight .table thead{display:none}.tight .table tr{display:block;padding:10px 16px;border-bottom:1px solid var(--line)}.tight .table tr:last-child{border-bottom:0}
.tight .table td,.tight .table td:first-child,.tight .table td:last-child{display:block;border:0;padding:1px 0;text-align:left;white-space:normal}}
@media print{@page{size:A4;margin:14mm 12mm}body{background:#fff;zoom:.7}.wrap{padding:0;max-width:none}h1{margin-top:12px}h2{margin-top:28px;break-after:avoid}.table tr,.panel.keep{break-inside:avoid}.foot{margin-top:24px}}
.verdict{grid-template-columns:1fr}
"""
STYLE = SHARED + OWN
