"""The words that texts of signals are made of. The vocabulary is closed: others are refused."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a token is."""

    BUY = "buy"
    SELL = "sell"
    LIMIT = "limit"
    STOP_ORDER = "stop order"
    STOP_LIMIT = "stop limit"
    MARKET = "market"
    ENTRY = "entry"
    SL = "sl"
    STOP = "stop"  # the stop loss, or a stop order
    TP = "tp"
    SYMBOL = "symbol"
    NUMBER = "number"
    PERCENT = "percent"
    PIPS = "pips"
    OPEN_END = "open"  # a target without a price
    SIZE = "size"
    LEVERAGE = "leverage"
    RISK = "risk"
    RATIO = "ratio"
    LABEL = "label"
    FILLER = "filler"
    DECOR = "decoration"
    MARK = "mark"
    LINE = "line"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a text. index: of a target or an entry. pair: of a symbol. is_money: a number with
    a $."""

    kind: Kind
    text: str
    pair: str = ""
    index: int = 0
    is_money: bool = False


def _phrases(kind: Kind, text: str) -> dict[tuple[str, ...], Kind]:
    return {tuple(phrase.split()): kind for phrase in text.split(",")}


PHRASES: dict[tuple[str, ...], Kind] = {
    **_phrases(Kind.BUY, "buy,long,go long,enter long,open long,open buy"),
    **_phrases(Kind.SELL, "sell,short,go short,enter short,open short,open sell"),
    **_phrases(Kind.LIMIT, "limit,limit order"),
    **_phrases(Kind.STOP_ORDER, "stop order,buystop,sellstop"),
    **_phrases(Kind.STOP_LIMIT, "stop limit,stop limit order"),
    **_phrases(
        Kind.MARKET,
        "now,market,at market,at cmp,cmp,market order,at market price,market price,"
        "current market price,market execution,instant execution,instant,at current price,"
        "ahora,agora,jetzt,maintenant",
    ),
    **_phrases(
        Kind.ENTRY,
        "entry,entry price,entry point,enter,enter at,entry at,entry zone,entry range,price,"
        "open price,entry target,entry targets,entry level,enter price,between,ep,entrada,einstieg",
    ),
    **_phrases(
        Kind.SL,
        "sl,s/l,s.l,stop loss,stoploss,stop target,stop targets,stop loss at,sl at",
    ),
    **_phrases(Kind.STOP, "stop,stop at,stop price"),
    **_phrases(
        Kind.TP,
        "tp,t/p,t.p,tps,take profit,take profits,takeprofit,target,targets,take profit target,"
        "take profit targets,profit target,profit targets,tp at,target at,take profit at,"
        "objetivo,objetivos,alvo,alvos,ziel,ziele,kursziel,objectif,objectifs,obiettivo,obiettivi",
    ),
    **_phrases(Kind.PIPS, "pips,pip"),
    **_phrases(Kind.OPEN_END, "open"),
    **_phrases(
        Kind.SIZE, "lot,lots,lot size,qty,quantity,size,volume,amount,contracts,units,margin"
    ),
    **_phrases(Kind.LEVERAGE, "leverage,lev,cross,isolated"),
    **_phrases(Kind.RISK, "risk"),
    **_phrases(Kind.RATIO, "rr,r:r,r/r,risk reward,risk/reward,risk reward ratio"),
    **_phrases(
        Kind.LABEL,
        "direction,side,type,signal type,order type,position,action,pair,symbol,coin,asset,"
        "ticker,trading pair,currency pair,instrument,exchange,exchanges,timeframe,time frame,tf,"
        "entry type,entry order,order,"
        "execution,execution type,trade type,market type,style,platform,broker",
    ),
    **_phrases(Kind.FILLER, "at,on,with,and,zone,range"),
    **_phrases(
        Kind.DECOR,
        "signal,signals,signal for,alert,alerts,signal alert,new signal,new trade,trade,vip,"
        "premium,free,forex,crypto,fx,scalp,scalping,swing,intraday,regular,good luck,gold signal,"
        "futures,spot,binance,bybit,bybit usdt,okx,kucoin,bitget,oanda,new,m1,m5,m15,m30,h1,h4,d1,"
        "trading,forex market,"
        "crypto market,market signal,market signals,market alert,day trade,daytrade,scalp trade,"
        "swing trade,perpetual,perp,usdt-m,forexsignals,forextrading,tradingsignals,cryptosignals,"
        "cryptotrading,goldsignals,daytrading,swingtrading,priceaction,technicalanalysis",
    ),
}
LONGEST = max(map(len, PHRASES))
PREFIXED = {("buy", "limit"): (Kind.BUY, Kind.LIMIT), ("sell", "limit"): (Kind.SELL, Kind.LIMIT),
             ("buy", "stop"): (Kind.BUY, Kind.STOP_ORDER),
             ("sell", "stop"): (Kind.SELL, Kind.STOP_ORDER)}  # fmt: skip
GLUED = {"buylimit": "buy limit", "selllimit": "sell limit", "buystop": "buy stop",
          "sellstop": "sell stop"}  # fmt: skip
